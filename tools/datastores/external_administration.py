"""SQL as superuser of a server that somebody else runs, and whether that server will do."""

from __future__ import annotations

import asyncio
from typing import Final

import asyncpg

from tools.datastores.addresses import POSTGRES_VARIABLE, PostgresAddress
from tools.datastores.administration import SUPERUSER, Administration
from tools.datastores.errors import (
    AdministrationError,
    ServerRefusedError,
    ServerUnreachableError,
    ServerUnsuitableError,
)
from tools.datastores.names import Names

SERVER: Final = "PostgreSQL"
OLDEST_VERSION: Final = 15
_STATISTICS: Final = "pg_stat_statements"
_FACTS: Final = """
select current_setting('server_version_num')::int / 10000 as version,
    (select rolsuper from pg_roles where rolname = current_user) as superuser,
    pg_is_in_recovery() as standby,
    exists (select from pg_available_extensions where name = 'pg_stat_statements') as available
"""


class ExternalAdministration(Administration):
    """Runs SQL over TCP, a connection for each call.

    With a run's `names`, databases are given by the names that services know, and ``postgres`` is a
    database of the run's own: nothing is written in one of somebody else's. Without, by the
    server's names, and ``postgres`` is the one that the address names.
    """

    def __init__(self, address: PostgresAddress, names: Names | None = None) -> None:
        self._address = address
        self._names = names

    def dsn(self, database: str = "postgres", role: str = SUPERUSER) -> str:
        """What ``asyncpg.connect`` takes, for the superuser alone."""
        if role != SUPERUSER:
            message = f"only the superuser comes this way, not {role!r}"
            raise KeyError(message)
        if self._names is not None:
            database = self._names.database(database)
        elif database == "postgres":
            database = self._address.database
        return self._address.dsn(database, self._address.user, self._address.password)

    def url(self, database: str = "postgres", role: str = SUPERUSER) -> str:
        """What SQLAlchemy takes, for the superuser alone."""
        return self.dsn(database, role).replace("postgresql:", "postgresql+asyncpg:", 1)


def check_server(admin: ExternalAdministration) -> None:
    """Makes sure that a run can do its work there; nothing is changed.

    Raises:
        ServerUnreachableError: nothing answers.
        ServerRefusedError: wrong password, unknown database, or no superuser.
        ServerUnsuitableError: too old, read-only, or without pg_stat_statements.
    """
    try:
        (facts,) = admin.fetch(_FACTS)
    except AdministrationError as error:
        raise _translated(error.__cause__) from None
    if facts["superuser"] is not True:
        raise ServerRefusedError(
            SERVER,
            expected="a superuser",
            came="a user who is none",
            remedy=f"name one in {POSTGRES_VARIABLE}; a run makes roles and databases, reads tables"
            " past their policies, and takes what everybody is granted",
        )
    version = int(str(facts["version"]))
    if version < OLDEST_VERSION:
        raise ServerUnsuitableError(
            SERVER,
            expected=f"version {OLDEST_VERSION} or newer",
            came=f"version {version}",
            remedy="use a newer server",
        )
    if facts["standby"] is True:
        raise ServerUnsuitableError(
            SERVER,
            expected="a server that can be written to",
            came="a standby",
            remedy=f"name the primary in {POSTGRES_VARIABLE}",
        )
    (libraries,) = admin.fetch("select current_setting('shared_preload_libraries') as names")
    loaded = [name.strip() for name in str(libraries["names"]).split(",")]
    if not facts["available"] or _STATISTICS not in loaded:
        raise ServerUnsuitableError(
            SERVER,
            expected=f"{_STATISTICS}, which counts what refused requests must not do",
            came=f"shared_preload_libraries = {', '.join(loaded) or 'nothing'}",
            remedy=f"install contrib, set shared_preload_libraries = '{_STATISTICS}' and restart",
        )


def check_log_in(dsn: str, role: str) -> None:
    """Makes sure that a role of a run can log in over TCP, as services do.

    Raises:
        ServerRefusedError: pg_hba.conf, most likely.
    """

    async def connect() -> None:
        connection = await asyncpg.connect(dsn, timeout=10.0)
        await connection.close(timeout=10.0)

    try:
        asyncio.run(connect())
    except (asyncpg.PostgresError, OSError) as error:
        raise ServerRefusedError(
            SERVER,
            expected=f"that role {role} may log in by its password",
            came=type(error).__name__,
            remedy="let pg_hba.conf admit roles that begin with wt_ from here by scram-sha-256",
        ) from None


def _translated(cause: BaseException | None) -> Exception:
    if isinstance(
        cause,
        asyncpg.InvalidPasswordError
        | asyncpg.InvalidAuthorizationSpecificationError
        | asyncpg.InsufficientPrivilegeError
        | asyncpg.InvalidCatalogNameError,
    ):
        return ServerRefusedError(
            SERVER,
            expected=f"that the user, password and database of {POSTGRES_VARIABLE} are let in",
            came=type(cause).__name__,
            remedy="look at the variable, and at pg_hba.conf",
        )
    return ServerUnreachableError(
        SERVER,
        expected="an answer within 10 s",
        came=type(cause).__name__,
        remedy=f"look whether the host and port of {POSTGRES_VARIABLE} are right",
    )
