import asyncio
import signal
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tools.datastores import AdministrationError, PostgresServer, PreparedClusterError
from tools.datastores.tests.connections import connected
from tools.processes import ProcessDiedError, Supervisor
from tools.processes.launcher import descendants
from tools.processes.tests.programs import alive, eventually

_WRITE = "INSERT INTO notes VALUES (1, 'kept')"
_READ = "SELECT body FROM notes"


def test_prepared_server_has_the_services_databases_and_roles(postgres: PostgresServer) -> None:
    """Everything that was prepared is there, and the owners are not among the login roles."""
    assert ["alpha", "beta"] == postgres.databases
    assert ["alpha_relay", "alpha_service", "beta_service"] == postgres.login_roles


async def test_url_is_for_sqlalchemy(postgres: PostgresServer) -> None:
    """url() goes into create_async_engine as it is; so does the superuser's over the socket."""
    for url, expected in [
        (postgres.url("alpha", "alpha_service"), "alpha_service"),
        (postgres.admin.url("alpha"), "postgres"),
    ]:
        engine = create_async_engine(url)
        async with engine.connect() as connection:
            user = (await connection.execute(text("SELECT session_user::text"))).scalar_one()
        await engine.dispose()

        assert expected == user


def test_statements_are_counted(postgres: PostgresServer) -> None:
    """pg_stat_statements is loaded, for checks that a refused request ran no statement."""
    postgres.admin.fetch("SELECT 'counted'::text AS word")

    rows = postgres.admin.fetch(
        "SELECT calls FROM pg_stat_statements WHERE query ~ '::text AS word'"
    )

    assert [] != rows


async def test_copies_are_isolated(postgres: PostgresServer) -> None:
    """Copies of one service's database share the schema and the grants, and no row."""
    postgres.create_database("first", template="alpha")
    postgres.create_database("second", template="alpha")
    try:
        async with connected(postgres.dsn("first", "alpha_service")) as connection:
            await connection.execute(_WRITE)
        async with connected(postgres.dsn("second", "alpha_service")) as connection:
            assert [] == await connection.fetch(_READ)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(postgres.dsn("first", "beta_service"))
    finally:
        postgres.drop_database("first")
        postgres.drop_database("second")

    assert ["alpha", "beta"] == postgres.databases


async def test_copy_is_possible_while_the_service_is_connected(postgres: PostgresServer) -> None:
    """The live database may be in use: copies come from its template."""
    async with connected(postgres.dsn("alpha", "alpha_service")):
        postgres.create_database("copy", template="alpha")
    postgres.drop_database("copy")


async def test_drop_ends_connections(postgres: PostgresServer) -> None:
    """A test that leaves a connection open can be cleaned up after."""
    postgres.create_database("used", template="alpha")
    async with connected(postgres.dsn("used", "alpha_service")) as connection:
        postgres.drop_database("used")

        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)):
            await connection.execute("SELECT 1")


def test_template_of_an_unknown_service_is_an_error(postgres: PostgresServer) -> None:
    """A mistyped service's name is said back."""
    with pytest.raises(ValueError, match="no database 'gamma_template' to copy"):
        postgres.create_database("copy", template="gamma")


@pytest.mark.parametrize("name", ["", "Upper", "a b", 'a"b', "a;b", "1a", "a" * 49, "a-b"])
def test_names_that_are_no_names_never_reach_sql(postgres: PostgresServer, name: str) -> None:
    """Names stand in statements as they are, so only harmless ones are taken."""
    with pytest.raises(ValueError, match="is no name"):
        postgres.create_database(name)
    with pytest.raises(ValueError, match="is no name"):
        postgres.create_login_role(name)


def test_failing_statement_is_a_typed_error(postgres: PostgresServer) -> None:
    """The driver's error is the cause."""
    with pytest.raises(AdministrationError, match="division by zero") as caught:
        postgres.admin.fetch("SELECT 1 / 0")

    assert isinstance(caught.value.__cause__, asyncpg.DivisionByZeroError)


async def test_calls_block_and_yet_work_inside_of_a_running_loop(postgres: PostgresServer) -> None:
    """Async tests may call them directly, or in a thread."""
    direct = postgres.admin.fetch("SELECT 1 AS one")
    in_thread = await asyncio.to_thread(postgres.admin.fetch, "SELECT 1 AS one")

    assert [{"one": 1}] == direct == in_thread


async def test_empty_server_takes_databases_and_roles_by_hand() -> None:
    """Without a prepared cluster a test makes what it needs, closed to everybody at first."""
    with PostgresServer.empty() as server:
        server.create_database("own")
        server.create_login_role("own_service")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(server.dsn("own", "own_service"))
        server.grant_connect("own", "own_service")
        async with connected(server.dsn("own", "own_service")) as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("CREATE TABLE mine (id integer)")

        assert ["own"] == server.databases


async def test_restart_keeps_port_passwords_and_data(cluster: Path) -> None:
    """Clients find the server where it was."""
    with PostgresServer.from_prepared(cluster) as server:
        dsn = server.dsn("alpha", "alpha_service")
        async with connected(dsn) as connection:
            await connection.execute(_WRITE)

        await asyncio.to_thread(server.restart)

        assert dsn == server.dsn("alpha", "alpha_service")
        async with connected(dsn) as connection:
            assert "kept" == await connection.fetchval(_READ)


@pytest.mark.parametrize("durable", [False, True])
async def test_kill_loses_no_committed_row(cluster: Path, *, durable: bool) -> None:
    """A crash of the server is recovered from; nothing of the dead one stands in the way."""
    with PostgresServer.from_prepared(cluster, durable=durable) as server:
        dsn = server.dsn("alpha", "alpha_service")
        async with connected(dsn) as connection:
            await connection.execute(_WRITE)
            server.kill()

        server.process.start()

        async with connected(dsn) as connection:
            assert "kept" == await connection.fetchval(_READ)
        settings = server.admin.fetch("SELECT current_setting('fsync') AS fsync")
        assert [{"fsync": "on" if durable else "off"}] == settings


async def test_paused_server_answers_nobody_until_it_is_resumed(cluster: Path) -> None:
    """All of the server is frozen, the back ends of open connections too."""
    with PostgresServer.from_prepared(cluster) as server:
        async with connected(server.dsn("alpha", "alpha_service")) as connection:
            server.process.pause()
            answer = asyncio.ensure_future(connection.fetchval("SELECT 7"))
            done, _ = await asyncio.wait([answer], timeout=0.2)
            assert set() == done

            server.process.resume()

            assert 7 == await asyncio.wait_for(answer, 5.0)


async def test_back_ends_go_when_their_server_dies(cluster: Path) -> None:
    """A SIGKILL of the first process alone ends the others, and the server's death is noticed."""
    server = PostgresServer.from_prepared(cluster)
    server.start()
    async with connected(server.dsn("alpha", "alpha_service")):
        parts = set(descendants(server.process.pid))
        assert len(parts) > 3
        server.process.signal(signal.SIGKILL)
        server.process.wait_exit(5.0)

        assert eventually(lambda: not any(map(alive, parts)))
    with pytest.raises(ProcessDiedError, match="SIGKILL"):
        server.stop()


async def test_two_servers_at_once_have_nothing_in_common(cluster: Path) -> None:
    """Two servers of one cluster have ports, passwords and rows of their own."""
    with (
        PostgresServer.from_prepared(cluster) as one,
        PostgresServer.from_prepared(cluster) as two,
    ):
        async with connected(one.dsn("alpha", "alpha_service")) as connection:
            await connection.execute(_WRITE)
        async with connected(two.dsn("alpha", "alpha_service")) as connection:
            assert [] == await connection.fetch(_READ)

        assert one.port != two.port
        assert one.password("alpha_service") != two.password("alpha_service")


def test_server_may_belong_to_a_given_supervisor(cluster: Path, tmp_path: Path) -> None:
    """Then it is one of that supervisor's processes, and leaves it when it stops."""
    with Supervisor(tmp_path) as supervisor:
        with PostgresServer.from_prepared(cluster, supervisor=supervisor, name="pg") as server:
            assert server.process is supervisor["pg"]
            assert "pg" in supervisor.startup_table()

        assert {} == supervisor.processes


def test_archive_that_is_no_cluster_is_named(tmp_path: Path) -> None:
    """A wrong or missing archive is an error with its path, and nothing is left running."""
    wrong = tmp_path / "wrong.tar"
    wrong.write_bytes(b"no archive")
    for archive, message in [
        (wrong, "wrong.tar is not a prepared cluster"),
        (tmp_path / "missing.tar", "no prepared cluster at"),
    ]:
        server = PostgresServer.from_prepared(archive)
        with pytest.raises(PreparedClusterError, match=message):
            server.start()


def test_archive_of_another_version_is_refused(
    cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A data directory of another server is not even tried."""
    from tools.datastores import archive

    monkeypatch.setattr(archive, "POSTGRES_VERSION", "19.0.0")

    with pytest.raises(PreparedClusterError, match=r"made for .*18\..*server here is 19\.0\.0"):
        PostgresServer.from_prepared(cluster).start()


def test_server_that_is_not_started_says_so(cluster: Path) -> None:
    """Ports and processes exist while the server runs."""
    server = PostgresServer.from_prepared(cluster)

    with pytest.raises(RuntimeError, match=r"'postgres' is not running: call start\(\) first"):
        _ = server.port


def test_settings_have_the_last_word(cluster: Path) -> None:
    """A test may change any setting."""
    with PostgresServer.from_prepared(cluster, settings={"max_connections": "7"}) as server:
        rows = server.admin.fetch("SELECT current_setting('max_connections') AS most")

        assert [{"most": "7"}] == rows
