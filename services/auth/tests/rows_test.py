"""What the service's own role may see and change in the database, under each kind of scope."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from contracts.context import DataScope, TenantId, UserId
from services.auth.domain import refresh_token_hash
from services.auth.tests.running import RunningAuth
from services.runtime.postgres import Database
from services.runtime.postgres_errors import RowRefused
from tools.datastores import PostgresServer
from tools.local.tests.running import LoggedIn

_TABLES = ("tenants", "users", "sessions", "refresh_tokens")


@pytest.fixture
async def database(postgres: PostgresServer) -> AsyncIterator[Database]:
    """Auth's database, under its login role."""
    database = Database(postgres.url("auth", "auth_service"))
    yield database
    await database.dispose()


@pytest.fixture
async def people(auth: RunningAuth) -> tuple[LoggedIn, LoggedIn, LoggedIn]:
    """Alice, her tenant's administrator, and another tenant's."""

    def make() -> tuple[LoggedIn, LoggedIn, LoggedIn]:
        root = auth.new_tenant()
        return auth.new_user(root), root, auth.new_tenant()

    return await asyncio.to_thread(make)


async def _owners(database: Database, scope: DataScope, table: str) -> set[tuple[str, str | None]]:
    column = "tenant_id, null" if table == "tenants" else "tenant_id, user_id"
    async with database.transaction(scope) as session:
        rows = await session.execute(text(f"SELECT {column} FROM {table}"))  # noqa: S608 -- constants
        return {(row[0], row[1]) for row in rows}


def _user(person: LoggedIn) -> DataScope:
    return DataScope.user(TenantId(person.tenant_id), UserId(person.user_id))


async def test_a_user_sees_her_own_rows(
    database: Database, people: tuple[LoggedIn, LoggedIn, LoggedIn]
) -> None:
    """Without any WHERE a user's transaction reads that user's rows, and no tenant."""
    alice = people[0]
    seen = {table: await _owners(database, _user(alice), table) for table in _TABLES}
    own = {(alice.tenant_id, alice.user_id)}

    assert {"tenants": set(), "users": own, "sessions": own, "refresh_tokens": own} == seen


async def test_kinds_that_auth_does_not_serve_see_nothing(
    database: Database, people: tuple[LoggedIn, LoggedIn, LoggedIn]
) -> None:
    """Kind `tenant` is for usage: here it reads no row of any table."""
    scope = DataScope.tenant(TenantId(people[0].tenant_id))

    assert [set()] * 4 == [await _owners(database, scope, table) for table in _TABLES]


async def test_system_is_for_one_tenant(
    database: Database, people: tuple[LoggedIn, LoggedIn, LoggedIn]
) -> None:
    """The service's own work for a tenant reads that tenant's users, and no refresh token."""
    alice, root, _ = people
    scope = DataScope.system(TenantId(root.tenant_id))
    both = {(root.tenant_id, alice.user_id), (root.tenant_id, root.user_id)}

    assert both == await _owners(database, scope, "users")
    assert both == await _owners(database, scope, "sessions")
    assert {(root.tenant_id, None)} == await _owners(database, scope, "tenants")
    assert set() == await _owners(database, scope, "refresh_tokens")


async def test_a_look_up_matches_one_row(
    database: Database, people: tuple[LoggedIn, LoggedIn, LoggedIn]
) -> None:
    """A log-in finds the one whom it names, in the one table that it is for."""
    alice, root, stranger = people
    by_name = DataScope.login("alice", TenantId(root.tenant_id))
    by_tenant = DataScope.login(root.tenant)
    by_token = DataScope.login(refresh_token_hash(alice.refresh_token) or "")
    elsewhere = DataScope.login("alice", TenantId(stranger.tenant_id))
    of_alice = {(alice.tenant_id, alice.user_id)}

    assert of_alice == await _owners(database, by_name, "users")
    assert {(root.tenant_id, None)} == await _owners(database, by_tenant, "tenants")
    assert of_alice == await _owners(database, by_token, "refresh_tokens")
    assert set() == await _owners(database, elsewhere, "users")
    for scope in (by_name, by_tenant, by_token):
        assert set() == await _owners(database, scope, "sessions")


@pytest.mark.parametrize(
    "statement",
    [
        """
        INSERT INTO sessions (tenant_id, user_id, session_id, created_at, expires_at)
        VALUES (:tenant_id, :user_id, 'forged', now(), now() + interval '1 day')
        """,
        """
        INSERT INTO revocations (tenant_id, user_id, session_id, sequence, expires_at)
        VALUES (:tenant_id, :user_id, 'forged', 1, now())
        """,
        """
        INSERT INTO users (tenant_id, user_id, login_name, password_hash, administrator, created_at)
        VALUES (:tenant_id, 'forged', 'forged', '', true, now())
        """,
        "SELECT * FROM revocations",
        "DELETE FROM sessions",
        "SELECT * FROM trail",
    ],
)
async def test_what_no_user_may_write(
    database: Database, people: tuple[LoggedIn, LoggedIn, LoggedIn], statement: str
) -> None:
    """Another's rows, users by a user, and whatever the service never does, are refused."""
    alice, _, stranger = people
    with pytest.raises(RowRefused):
        async with database.transaction(_user(alice)) as session:
            await session.execute(
                text(statement),
                {"tenant_id": stranger.tenant_id, "user_id": stranger.user_id}
                if ":user_id" in statement
                else {"tenant_id": stranger.tenant_id}
                if ":tenant_id" in statement
                else {},
            )


async def test_the_feeds_role_sees_ended_sessions_alone(postgres: PostgresServer) -> None:
    """The role that reads revocations reads nothing else, and writes nothing."""
    import asyncpg

    connection = await asyncpg.connect(postgres.dsn("auth", "auth_revocations"))
    try:
        await connection.fetch("SELECT * FROM revocations")
        for statement in (
            *(f"SELECT 1 FROM {table}" for table in (*_TABLES, "trail")),  # noqa: S608 -- constants
            "INSERT INTO revocations VALUES ('t', 'u', 's', 1, now())",
            "UPDATE revocations SET session_id = 'x'",
            "UPDATE revocation_head SET sequence = 0",
            "TRUNCATE revocations",
            "SET ROLE auth_service",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_the_trail_says_who_did_what(
    auth: RunningAuth,
    people: tuple[LoggedIn, LoggedIn, LoggedIn],
    postgres: PostgresServer,
) -> None:
    """Log-ins, refusals and log-outs leave rows with identifiers and a trace, and no words."""
    alice, root, _ = people

    def act() -> None:
        auth.http.post(
            "/login",
            json={"tenant": alice.tenant, "login_name": "alice", "password": "wrong password"},
        )
        auth.http.post("/logout", headers=alice.bearer)

    await asyncio.to_thread(act)
    rows = postgres.admin.fetch(
        "SELECT * FROM trail WHERE tenant_id = $1 ORDER BY occurred_at",
        root.tenant_id,
        database="auth",
    )

    assert [
        ("tenants.create", "ok", None),
        ("sessions.log_in", "ok", root.user_id),
        ("users.create", "ok", root.user_id),
        ("sessions.log_in", "ok", alice.user_id),
        ("sessions.log_in", "refused", None),
        ("sessions.log_out", "ok", alice.user_id),
    ] == [(row["action"], row["outcome"], row["user_id"]) for row in rows]
    assert all(row["trace_id"] and row["request_id"] for row in rows)


async def test_the_trail_says_what_was_refused(
    auth: RunningAuth,
    people: tuple[LoggedIn, LoggedIn, LoggedIn],
    postgres: PostgresServer,
) -> None:
    """An administrator's refused operations are hers, and no row of the tenant that was named."""
    alice, root, stranger = people

    def act() -> list[int]:
        taken = {"login_name": alice.login_name, "password": "correct horse battery"}
        return [
            auth.http.post("/users", json=taken, headers=root.bearer).status_code,
            auth.http.post(
                f"/users/{stranger.user_id}/revocations", headers=root.bearer
            ).status_code,
        ]

    statuses = await asyncio.to_thread(act)
    rows = postgres.admin.fetch(
        "SELECT * FROM trail WHERE outcome = 'refused' AND tenant_id IN ($1, $2)"
        " ORDER BY occurred_at",
        root.tenant_id,
        stranger.tenant_id,
        database="auth",
    )

    assert [409, 404] == statuses
    assert [
        ("users.create", root.tenant_id, root.user_id),
        ("users.revoke", root.tenant_id, root.user_id),
    ] == [(row["action"], row["tenant_id"], row["user_id"]) for row in rows]
