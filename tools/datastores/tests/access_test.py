"""Who gets into PostgreSQL, and who does not."""

from pathlib import Path

import asyncpg
import pytest

from tools.datastores import PostgresServer
from tools.datastores.passwords import new_password
from tools.datastores.tests.connections import connected, listeners, owners


async def test_service_logs_in_with_its_password(postgres: PostgresServer) -> None:
    """The login role reaches its own database over TCP, by SCRAM."""
    async with connected(postgres.dsn("alpha", "alpha_service")) as connection:
        assert "alpha_service" == await connection.fetchval("SELECT session_user::text")


@pytest.mark.parametrize("password", ["", "wrong", new_password()])
async def test_wrong_password_is_refused(postgres: PostgresServer, password: str) -> None:
    """Without the right password nobody is let in."""
    dsn = f"postgresql://alpha_service:{password}@127.0.0.1:{postgres.port}/alpha"

    with pytest.raises((asyncpg.InvalidPasswordError, asyncpg.InterfaceError)):
        await asyncpg.connect(dsn)


async def test_superuser_is_refused_over_tcp(postgres: PostgresServer) -> None:
    """The superuser does not come in over TCP, whatever the password."""
    dsn = f"postgresql://postgres:anything@127.0.0.1:{postgres.port}/postgres"

    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="rejects connection"):
        await asyncpg.connect(dsn)


async def test_superuser_is_refused_over_tcp_even_with_a_password() -> None:
    """A superuser to whom somebody gave a password still has to come by the socket."""
    with PostgresServer.empty() as server:
        server.admin.execute("ALTER ROLE postgres PASSWORD 'leaked'")
        dsn = f"postgresql://postgres:leaked@127.0.0.1:{server.port}/postgres"

        with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
            await asyncpg.connect(dsn)


async def test_login_role_is_refused_over_the_socket(postgres: PostgresServer) -> None:
    """The socket trusts, so it is the superuser's alone."""
    dsn = postgres.admin.dsn("alpha").replace("//postgres@", "//alpha_service@")

    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="rejects connection"):
        await asyncpg.connect(dsn)


@pytest.mark.parametrize(
    "statement",
    ["select lo_create(0)", "select lo_from_bytea(0, 'kept')", "select lo_open(1, 131072)"],
)
async def test_service_makes_no_large_objects(postgres: PostgresServer, statement: str) -> None:
    """They would rest beside every table's row-level security."""
    async with connected(postgres.dsn("alpha", "alpha_service")) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


@pytest.mark.parametrize(
    "database", ["beta", "postgres", "template1", "alpha_template", "beta_template"]
)
async def test_service_cannot_connect_to_another_database(
    postgres: PostgresServer, database: str
) -> None:
    """A service that is taken over reaches its own database only."""
    with pytest.raises(
        (asyncpg.InsufficientPrivilegeError, asyncpg.ObjectNotInPrerequisiteStateError)
    ):
        await asyncpg.connect(postgres.dsn(database, "alpha_service"))


async def test_owner_cannot_log_in(postgres: PostgresServer) -> None:
    """The role that owns the tables is for migrations alone."""
    postgres.admin.execute("ALTER ROLE alpha_owner PASSWORD 'known'")
    dsn = f"postgresql://alpha_owner:known@127.0.0.1:{postgres.port}/alpha"

    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="not permitted"):
        await asyncpg.connect(dsn)
    postgres.admin.execute("ALTER ROLE alpha_owner PASSWORD NULL")


def test_login_roles_have_no_attribute_no_membership_and_no_property(
    postgres: PostgresServer,
) -> None:
    """A login role owns nothing, inherits nothing, and bypasses nothing."""
    roles = postgres.admin.fetch(
        "SELECT rolname::text AS name, rolsuper OR rolcreatedb OR rolcreaterole OR rolinherit"
        " OR rolreplication OR rolbypassrls AS more,"
        " (SELECT count(*) FROM pg_auth_members WHERE member = pg_roles.oid) AS memberships,"
        " (SELECT count(*) FROM pg_shdepend WHERE refobjid = pg_roles.oid AND deptype = 'o')"
        " AS owned FROM pg_roles WHERE rolcanlogin AND rolname <> 'postgres' ORDER BY 1"
    )

    assert [
        {"name": name, "more": False, "memberships": 0, "owned": 0}
        for name in ("alpha_relay", "alpha_service", "beta_service")
    ] == roles


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id integer)",
        "CREATE TEMPORARY TABLE mine (id integer)",
        "CREATE SCHEMA mine",
        "CREATE EXTENSION dblink",
        "SET ROLE alpha_owner",
        "SET SESSION AUTHORIZATION postgres",
        "COPY notes TO PROGRAM 'cat'",
        "SELECT pg_read_file('postgresql.conf')",
        "SELECT rolpassword FROM pg_authid",
        "TRUNCATE notes",
    ],
)
async def test_service_may_do_nothing_beyond_its_grants(
    postgres: PostgresServer, statement: str
) -> None:
    """No tables of its own, no other role, no files, no verifiers."""
    async with connected(postgres.dsn("alpha", "alpha_service")) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


def test_server_listens_on_the_loopback_alone(postgres: PostgresServer) -> None:
    """Other machines cannot even knock."""
    assert {"0100007F"} == listeners(postgres.port)


def test_socket_folder_belongs_to_the_server_alone(postgres: PostgresServer) -> None:
    """Only the server's user, and root, can enter the folder of the socket that trusts."""
    rows = postgres.admin.fetch("SHOW unix_socket_directories")
    status = Path(str(rows[0]["unix_socket_directories"])).stat()

    assert 0o700 == status.st_mode & 0o777
    assert {status.st_uid} == owners(postgres.process.pid)


def test_server_does_not_run_as_root(postgres: PostgresServer) -> None:
    """Whoever starts it, the server is somebody without rights."""
    assert 0 not in owners(postgres.process.pid)


def test_passwords_differ_between_servers_and_are_nowhere_in_the_log(
    postgres: PostgresServer,
) -> None:
    """Passwords are set at start, from this process's memory."""
    roles = postgres.login_roles
    passwords = {postgres.password(role) for role in roles}
    statements = postgres.admin.fetch("SELECT query FROM pg_stat_statements")

    assert len(roles) == len(passwords)
    seen = postgres.process.log_path.read_text() + repr(statements)
    assert not [password for password in passwords if password in seen]
    with pytest.raises(KeyError, match="'alpha_owner' has no password"):
        postgres.password("alpha_owner")


async def test_log_holds_no_content(postgres: PostgresServer) -> None:
    """Errors quote values and statements their literals: none of it reaches the server's log."""
    before = postgres.process.log_path.stat().st_size
    async with connected(postgres.dsn("alpha", "alpha_service")) as connection:
        for statement in (
            "SELECT 'canary7'::uuid",
            "INSERT INTO notes VALUES (1, 'canary7'), (1, 'canary7')",
            "SELECT canary7",
            "DO $$ BEGIN RAISE WARNING 'canary7'; END $$",
        ):
            try:
                await connection.execute(statement)
            except asyncpg.PostgresError as error:
                assert "canary7" in f"{error}{error.detail}" or "notes" in str(error)  # noqa: PT017
        with pytest.raises(asyncpg.DataError):
            await connection.fetch("SELECT $1::text::uuid", "canary7")

    assert "canary7" not in postgres.process.log_path.read_text()[before:]
