"""Removing everything of a run from a PostgreSQL that somebody else runs, by its name.

The same statements end a run and clean up after one that was killed.
"""

from __future__ import annotations

import contextlib
import re
import time
from typing import Final

from tools.datastores.administration import Administration
from tools.datastores.errors import AdministrationError, LeftOverError
from tools.datastores.names import Names
from tools.datastores.presence import LOCK_CLASS, PostgresPresence, lock_number

_NAMED: Final = re.compile(r"wt_([0-9a-f]{8})_")
_EVERYTHING: Final = """
select 'database' as kind, datname::text as name from pg_database where datname ~ '^wt_[0-9a-f]{8}_'
union all
select 'role', rolname::text from pg_roles where rolname ~ '^wt_[0-9a-f]{8}_'
order by 1, 2
"""
# By whomever, in whatever database.
_HELD: Final = """
select from pg_locks where locktype = 'advisory' and granted
    and classid = $1::bigint::oid and objid = $2::bigint::oid
"""
_CONNECTED: Final = "select from pg_stat_activity where starts_with(usename::text, $1)"
_FORGET: Final = (
    "select pg_stat_statements_reset(0, oid, 0) from pg_database"
    " where starts_with(datname::text, '{prefix}')"
)
# The services of a run that was killed end after it. If they stay, the run has lost its lock alone.
_LAST_WORDS_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.05
_UNSIGNED: Final = 0xFFFF_FFFF


def sweep_postgres(admin: Administration) -> list[str]:
    """Removes what is left of runs that nobody holds any more; gives their names.

    Of several at once one does it.
    """
    with PostgresPresence(admin.dsn(), "watertight-sweep", 0) as sweep:
        if not sweep.held:
            return []
        names = [str(row["name"]) for row in admin.fetch(_EVERYTHING)]
        runs = {found[1] for name in names if (found := _NAMED.match(name))}
        return [run for run in sorted(runs) if _remove_abandoned(admin, Names(run))]


def remove_from_postgres(admin: Administration, names: Names) -> None:
    """Drops every database and role of a run, whoever is connected, and what was counted of it.

    Raises:
        AdministrationError: the server does not answer, or refuses.
        LeftOverError: something is there still.
    """
    things = _of(admin, names)
    databases = [name for kind, name in things if kind == "database"]
    observer = names.database("postgres")
    if observer in databases:
        _forget_statistics(admin, names, observer)
    for name in databases:
        _attempt(
            admin,
            f'ALTER DATABASE "{name}" IS_TEMPLATE false',
            f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)',
        )
    for kind, name in things:
        if kind == "role":
            _attempt(admin, f'DROP ROLE IF EXISTS "{name}"')
    if left := _of(admin, names):
        what = ", ".join(f"{kind} {name}" for kind, name in left)
        raise LeftOverError("PostgreSQL", names.run, what)


def _remove_abandoned(admin: Administration, names: Names) -> bool:
    number = lock_number(names.run) & _UNSIGNED
    if admin.fetch(_HELD, LOCK_CLASS, number):
        return False
    limit = time.monotonic() + _LAST_WORDS_SECONDS
    while admin.fetch(_CONNECTED, names.prefix):
        if time.monotonic() > limit:
            return False
        time.sleep(_POLL_SECONDS)
    # Another run's rest, told when it ended, keeps nobody from working.
    with contextlib.suppress(LeftOverError):
        remove_from_postgres(admin, names)
        return True
    return False


def _attempt(admin: Administration, *statements: str) -> None:
    """One thing that cannot be removed keeps no other; it is told at the end."""
    with contextlib.suppress(AdministrationError):
        admin.execute(*statements)


def _forget_statistics(admin: Administration, names: Names, observer: str) -> None:
    """Removes the run's entries, which nobody could tell any more whose they were."""
    try:
        admin.execute(_FORGET.format(prefix=names.prefix), database=observer)
    except AdministrationError:  # its run ended before the extension was there
        return


def _of(admin: Administration, names: Names) -> list[tuple[str, str]]:
    return [
        (str(row["kind"]), str(row["name"]))
        for row in admin.fetch(_EVERYTHING)
        if str(row["name"]).startswith(names.prefix)
    ]
