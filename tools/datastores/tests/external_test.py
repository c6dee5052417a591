"""A run's databases, roles, users and keys on servers of somebody else, and that nothing stays."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
import redis

from tools.datastores import (
    ExternalDatastores,
    LeftOverError,
    MigrationError,
    Names,
    NotOursError,
    ServerRefusedError,
    ServerUnreachableError,
    ServerUnsuitableError,
)
from tools.datastores.passwords import scram_verifier
from tools.datastores.presence import lock_number
from tools.datastores.tests.migrations import migration
from tools.datastores.tests.somebody import Somebody, embedded_somebody
from tools.processes import Supervisor

_RULES = ["+get", "+set", "+ping"]
_KILLED = """
import sys, time
from pathlib import Path
from tools.datastores import ExternalDatastores, external_servers
from tools.datastores.tests.migrations import migration
from tools.processes import Supervisor

with Supervisor() as supervisor, ExternalDatastores(
    external_servers(), [migration(Path(sys.argv[1]), "alpha")], supervisor
) as run:
    run.valkey.add_user("alpha", ["+ping"])
    run.valkey.admin.set(f"{run.names.redis_namespace}:alpha:x", "value")
    print(run.names.run, flush=True)
    time.sleep(300)
"""


@pytest.fixture(scope="module")
def somebody() -> Iterator[Somebody]:
    """Servers on which somebody has things already, some called much like a run's."""
    with embedded_somebody() as theirs:
        yield theirs


@pytest.fixture(scope="module")
def supervisor() -> Iterator[Supervisor]:
    """What migration programs are processes of."""
    with Supervisor() as supervisor:
        yield supervisor


@pytest.fixture(scope="module")
def run(
    somebody: Somebody, supervisor: Supervisor, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ExternalDatastores]:
    """A run with the services ``alpha``, which has a relay, and ``beta``."""
    folder = tmp_path_factory.mktemp("run")
    services = [migration(folder, "alpha", roles=("alpha_relay",)), migration(folder, "beta")]
    with ExternalDatastores(somebody.servers, services, supervisor) as run:
        yield run


async def test_service_works_under_its_own_role(run: ExternalDatastores) -> None:
    """A login role has what its migration grants, in its own database, under the run's name."""
    connection = await asyncpg.connect(run.postgres.dsn("alpha", "alpha_service"))
    await connection.execute("INSERT INTO notes VALUES (1, 'body')")
    names = await connection.fetchrow("SELECT current_user::text, current_database()::text")
    await connection.close()

    assert (run.names.role("alpha_service"), run.names.database("alpha")) == tuple(names or ())
    assert [{"body": "body"}] == run.postgres.admin.fetch(
        "SELECT body FROM notes", database="alpha"
    )
    assert ["alpha_relay", "alpha_service", "beta_service"] == run.postgres.login_roles
    assert ["alpha", "beta"] == run.postgres.databases


async def test_service_reaches_no_other_database_of_the_run(
    run: ExternalDatastores, somebody: Somebody
) -> None:
    """A login role may connect to its own service's database alone; the owner to none."""
    password = run.postgres.password("alpha_service")
    role = run.names.role("alpha_service")
    for other in ("beta", "postgres", "beta_template"):
        dsn = somebody.servers.postgres.dsn(run.names.database(other), role, password)
        with pytest.raises(
            (asyncpg.InsufficientPrivilegeError, asyncpg.ObjectNotInPrerequisiteStateError)
        ):
            await asyncpg.connect(dsn)
    with pytest.raises(KeyError, match="has no password"):
        run.postgres.password("alpha_owner")


async def test_copy_of_a_database_is_isolated(run: ExternalDatastores) -> None:
    """A copy has the service's tables and none of its rows, and can be dropped."""
    run.postgres.admin.execute("INSERT INTO notes VALUES (2, 'live')", database="alpha")
    run.postgres.create_database("copy", template="alpha")
    connection = await asyncpg.connect(run.postgres.dsn("copy", "alpha_service"))
    rows = await connection.fetch("SELECT * FROM notes")
    await connection.close()
    run.postgres.drop_database("copy")

    assert [] == rows
    assert "copy" not in run.postgres.databases


def test_redis_user_has_its_runs_keys_alone(run: ExternalDatastores) -> None:
    """A service's user is called after the run and may do what its rules say."""
    root = run.names.redis_namespace
    run.valkey.add_user("alpha", [f"~{root}:alpha:*", *_RULES])
    with redis.Redis.from_url(run.valkey.url("alpha")) as alpha:
        alpha.set(f"{root}:alpha:key", "value")
        for key in (f"{root}:beta:key", "wt:alpha:key", "wt-other:key"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                alpha.get(key)

    assert b"value" == run.valkey.admin.get(f"{root}:alpha:key")


def test_everything_carries_the_runs_name_and_is_gone_at_the_end(
    somebody: Somebody, supervisor: Supervisor, tmp_path: Path
) -> None:
    """Whatever is there more than before has the run's name in it; afterwards nothing is."""
    before = somebody.catalogue()
    with ExternalDatastores(somebody.servers, [migration(tmp_path, "alpha")], supervisor) as run:
        run.valkey.add_user("alpha", ["+ping"])
        run.valkey.admin.xadd(f"{run.names.redis_namespace}:stream", {"a": "b"})
        run.postgres.create_database("copy", template="alpha")
        run.postgres.create_login_role("alpha_guest")
        more = set(somebody.catalogue().splitlines()) - set(before.splitlines())

    # Four databases, three roles, a user, a stream, and how many keys there are.
    assert 10 == len(more)
    assert [] == [line for line in more if run.names.run not in line and "{'db0'" not in line]
    assert before == somebody.catalogue()


def test_nothing_stays_after_a_failure(
    somebody: Somebody, supervisor: Supervisor, tmp_path: Path
) -> None:
    """Neither when a migration fails half way, nor when the test does."""
    before = somebody.catalogue()
    broken = migration(tmp_path, "beta", statements=("CREATE TABLE x (y int)", "SELECT nonsense"))
    with (
        pytest.raises(MigrationError),
        ExternalDatastores(somebody.servers, [migration(tmp_path, "alpha"), broken], supervisor),
    ):
        pass
    with (
        pytest.raises(ZeroDivisionError),
        ExternalDatastores(somebody.servers, [migration(tmp_path, "alpha")], supervisor) as run,
    ):
        run.valkey.admin.set(f"{run.names.redis_namespace}:x", 1 // 0)

    assert before == somebody.catalogue()


def test_next_run_removes_what_a_killed_one_left(
    somebody: Somebody, supervisor: Supervisor, tmp_path: Path
) -> None:
    """A killed run leaves things, which stay while it lives and go when the next one starts."""
    before = somebody.catalogue()
    with _killable(somebody, tmp_path) as (process, name):
        with ExternalDatastores(somebody.servers, [], supervisor):
            during = somebody.of_runs()
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    left = somebody.of_runs()
    with ExternalDatastores(somebody.servers, [], supervisor):
        swept = somebody.of_runs()

    assert [] != [line for line in during if name in line]
    assert [] != [line for line in left if name in line]
    assert [] == [line for line in swept if name in line]
    assert before == somebody.catalogue()


@contextlib.contextmanager
def _killable(somebody: Somebody, folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    script = folder / "killed.py"
    script.write_text(_KILLED)
    environ = {**os.environ, **somebody.variables, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, str(script), str(folder)], stdout=subprocess.PIPE, text=True, env=environ
    ) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_servers_of_somebody_else_are_not_ours_to_stop(run: ExternalDatastores) -> None:
    """What a test would do to a server's process is refused with a word of its own."""
    for server in (run.postgres, run.valkey):
        for action in (server.kill, server.restart):
            with pytest.raises(NotOursError, match="run by somebody else"):
                action()
        with pytest.raises(NotOursError, match="run by somebody else"):
            _ = server.process


def test_strangers_are_seen(run: ExternalDatastores, somebody: Somebody) -> None:
    """Somebody else's connection is told from the run's own, whose figures it would add to."""
    alone = run.valkey.strangers()
    run.valkey.add_user("alpha", ["+ping"])
    with (
        redis.Redis.from_url(somebody.redis_url) as other,
        redis.Redis.from_url(run.valkey.admin_url) as observer,
        redis.Redis.from_url(run.valkey.url("alpha")) as alpha,
    ):
        observer.ping()
        alpha.ping()
        still_alone = run.valkey.strangers()
        other.ping()
        strangers = run.valkey.strangers()

    assert [] == alone
    assert [] == still_alone
    assert 1 == len(strangers)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"port": 1}, ServerUnreachableError, "expected an answer within 10 s"),
        ({"password": "hidden-4711"}, ServerRefusedError, "are let in"),
        ({"user": "nobody"}, ServerRefusedError, "are let in"),
        ({"database": "nowhere"}, ServerRefusedError, "are let in"),
    ],
)
def test_wrong_postgres_is_told(
    somebody: Somebody,
    supervisor: Supervisor,
    changes: dict[str, object],
    error: type[Exception],
    words: str,
) -> None:
    """Each reason is told in its own words, before anything is made; no password is among them."""
    servers = somebody.servers
    address = replace(servers.postgres, **changes)  # type: ignore[arg-type]
    with (
        pytest.raises(error, match=words) as raised,
        ExternalDatastores(replace(servers, postgres=address), [], supervisor),
    ):
        pass

    assert address.password not in f"{raised.value} {raised.value!r}"
    assert "WATERTIGHT_POSTGRES_URL" in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"port": 1}, ServerUnreachableError, "expected an answer within 5 s"),
        ({"password": "hidden-4711"}, ServerRefusedError, "are let in"),
        ({"user": "nobody"}, ServerRefusedError, "are let in"),
    ],
)
def test_wrong_redis_is_told(
    somebody: Somebody,
    supervisor: Supervisor,
    changes: dict[str, object],
    error: type[Exception],
    words: str,
) -> None:
    """So for Redis."""
    servers = somebody.servers
    address = replace(servers.redis, **changes)  # type: ignore[arg-type]
    with (
        pytest.raises(error, match=words) as raised,
        ExternalDatastores(replace(servers, redis=address), [], supervisor),
    ):
        pass

    assert address.password not in f"{raised.value} {raised.value!r}"
    assert "WATERTIGHT_REDIS_URL" in str(raised.value)


def test_users_with_too_few_rights_are_told(somebody: Somebody, supervisor: Supervisor) -> None:
    """Who cannot make roles, or cannot make ACL users, is refused by what is missing."""
    servers = somebody.servers
    password = servers.postgres.password
    somebody.postgres.execute(
        f"CREATE ROLE plain LOGIN CREATEDB CREATEROLE PASSWORD '{scram_verifier(password)}'",
        "GRANT CONNECT ON DATABASE wt_other TO plain",
    )
    plain = replace(servers.postgres, user="plain", database="wt_other")
    with (
        pytest.raises(ServerRefusedError, match="expected a superuser"),
        ExternalDatastores(replace(servers, postgres=plain), [], supervisor),
    ):
        pass
    somebody.postgres.execute("DROP OWNED BY plain", "DROP ROLE plain")

    with redis.Redis.from_url(somebody.redis_url) as admin:
        for rules in (["+@all", "-unlink"], ["+@all", "-acl"]):
            admin.execute_command(
                "ACL", "SETUSER", "few", "reset", "on", ">few", "~*", "&*", *rules
            )
            few = replace(servers.redis, user="few", password="few")
            with (
                pytest.raises(ServerRefusedError, match="expected a user with the right to"),
                ExternalDatastores(replace(servers, redis=few), [], supervisor),
            ):
                pass
        admin.execute_command("ACL", "DELUSER", "few")


def test_server_without_statistics_is_told(supervisor: Supervisor) -> None:
    """Without pg_stat_statements nothing could show what refused requests did not do."""
    with (
        embedded_somebody(shared_preload_libraries="") as theirs,
        pytest.raises(ServerUnsuitableError, match="shared_preload_libraries = nothing"),
        ExternalDatastores(theirs.servers, [], supervisor),
    ):
        pass


def test_what_could_not_be_removed_is_named(somebody: Somebody, supervisor: Supervisor) -> None:
    """A role that somebody has granted something of theirs stays, and is told by its name.

    It keeps no other run from working.
    """
    run = ExternalDatastores(somebody.servers, [], supervisor)
    run.__enter__()
    role = run.names.role("kept")
    somebody.postgres.execute(
        f"CREATE ROLE {role}", f"GRANT CONNECT ON DATABASE wt_other TO {role}"
    )
    with pytest.raises(LeftOverError, match=f"still has role {role} of run {run.names.run}"):
        run.__exit__()
    with ExternalDatastores(somebody.servers, [], supervisor):
        left = [line for line in somebody.of_runs() if run.names.run in line]
    somebody.postgres.execute(f"DROP OWNED BY {role}", f"DROP ROLE {role}")

    assert 2 == len(left)


def test_run_has_a_lock_of_its_own() -> None:
    """Different runs have different numbers, which PostgreSQL's type holds."""
    numbers = [lock_number(run) for run in ("00000000", "7fffffff", "80000000", "ffffffff")]

    assert [0, 2**31 - 1, -(2**31), -1] == numbers


@pytest.mark.parametrize("run", ["0a1b2c3", "0A1B2C3D", "0a1b2c3d4", "*", "wt_other"])
def test_runs_have_short_plain_names(run: str) -> None:
    """A name that could match another's things is none."""
    with pytest.raises(ValueError, match="eight hexadecimal digits"):
        Names(run)
