"""What becomes of a scope when a transaction ends otherwise than planned, and who comes next.

Everything here goes over the running system's own backend database, under its login role.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Final

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.context import DataScope
from integration.environment import Environment
from integration.isolation.owners import Owner, Owners, reply
from integration.isolation.storm import drawn, run_storm
from integration.isolation.tables import REFUSED, attempt
from services.runtime.errors import Unavailable
from services.runtime.postgres import Database, DatabaseLimits
from services.runtime.postgres_errors import DatabaseError
from tools.processes.waiting import until

pytest_plugins = ["integration.fixtures.plugin", "integration.isolation.storage_fixtures"]
pytestmark = [pytest.mark.integration, pytest.mark.real_services]

ROLE: Final = "backend_service"
TITLES: Final = "select title from threads"
RENAME: Final = text("update threads set title = :title")
SLEEP: Final = text("select pg_sleep(30)")
LIMITS: Final = DatabaseLimits(statement_seconds=0.2, lock_seconds=0.2)
CONTENTS: Final = "select content from messages order by sequence"
EMPTY: Final = ("", "", "", "", "")


@pytest.fixture
async def database(databases: dict[str, Database]) -> Database:
    """The backend's, over one pooled connection."""
    return databases["backend"]


async def shown(database: Database, owner: Owner) -> None:
    """Asserts that a thread's scope shows just that thread, as it was made."""
    assert [(owner.word,)] == await attempt(database, owner.scope, TITLES)
    assert [(owner.word,), (reply(owner),)] == await attempt(database, owner.scope, CONTENTS)


@asynccontextmanager
async def pooled(database: Database) -> AsyncIterator[Callable[[str], Awaitable[object]]]:
    """Asks the pooled connection itself, outside of any transaction, as nobody else can."""
    async with database._engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None

        async def ask(sql: str) -> object:
            return tuple(await driver.fetchrow(sql) or ())

        yield ask


async def settings_left(database: Database) -> object:
    """The five settings of a pooled connection between two transactions."""
    names = ("scope_kind", "tenant_id", "user_id", "thread_id", "lookup")
    calls = ", ".join(f"coalesce(current_setting('app.{name}', true), '')" for name in names)
    async with pooled(database) as ask:
        return await ask(f"select {calls}")


async def backend_pid(database: Database) -> object:
    """Which server process the one pooled connection has."""
    async with pooled(database) as ask:
        return await ask("select pg_backend_pid()")


@pytest.mark.parametrize("ending", ["commit", "rollback", "error", "statement error"])
async def test_scope_ends_however_its_transaction_ends(
    database: Database, owners: Owners, ending: str
) -> None:
    """Nothing of a scope is left on the same connection, and the next scope sees its own alone."""
    pid = await backend_pid(database)

    with suppress(LookupError, DatabaseError):
        async with database.session(owners.owner.scope) as session:
            await session.execute(RENAME, {"title": owners.owner.word})
            if ending == "commit":
                await session.commit()
            elif ending == "rollback":
                await session.rollback()
            elif ending == "error":
                raise LookupError
            else:
                await session.execute(text("select 1 / 0"))
    left = await settings_left(database)

    assert EMPTY == left
    assert pid == await backend_pid(database)
    for other in owners.others:
        await shown(database, other)


async def test_rolled_back_row_is_nobodys(database: Database, owners: Owners) -> None:
    """What was rolled back neither its writer sees nor whoever has the connection next."""
    async with database.session(owners.owner.scope) as session:
        await session.execute(RENAME, {"title": "never"})
        await session.rollback()

        assert [owners.owner.word] == list(await session.scalars(text(TITLES)))
    for owner in owners.everybody:
        await shown(database, owner)


async def test_session_that_goes_on_after_a_rollback_has_its_scope(
    database: Database, owners: Owners
) -> None:
    """Each transaction of one session is bound anew: a rollback between neither widens nor ends."""
    async with database.session(owners.owner.scope) as session:
        for _ in range(3):
            assert [owners.owner.word] == list(await session.scalars(text(TITLES)))
            await session.rollback()
            assert [owners.owner.word] == list(await session.scalars(text(TITLES)))
            await session.commit()


@pytest.mark.parametrize("ending", ["released", "rolled back", "failed"])
async def test_savepoint_neither_loses_nor_changes_the_scope(
    database: Database, owners: Owners, ending: str
) -> None:
    """After a savepoint, however it ends, the transaction has the scope that it began with."""
    async with database.transaction(owners.owner.scope) as session:
        savepoint = await session.begin_nested()
        await session.execute(RENAME, {"title": owners.owner.word})
        if ending == "released":
            await savepoint.commit()
        elif ending == "rolled back":
            await savepoint.rollback()
        else:
            with pytest.raises(Exception, match="22012"):
                await session.execute(text("select 1 / 0"))
            await savepoint.rollback()

        assert [owners.owner.word] == list(await session.scalars(text(TITLES)))
        assert await may_write(session, owners.owner)
    for owner in owners.everybody:
        await shown(database, owner)


async def may_write(session: AsyncSession, owner: Owner) -> bool:
    """Whether just her one thread is hers to change."""
    renamed = await session.scalars(text("update threads set title = title returning thread_id"))
    return [owner.thread_id] == list(renamed)


async def test_nested_savepoints_keep_the_scope_at_every_depth(
    database: Database, owners: Owners
) -> None:
    """However deep, and from whichever depth one returns, a scope shows the same."""
    async with database.transaction(owners.owner.scope) as session:
        for depth in range(1, 6):
            savepoints = [await session.begin_nested() for _ in range(depth)]
            assert [owners.owner.word] == list(await session.scalars(text(TITLES)))
            await savepoints[depth // 2].rollback()
            assert [owners.owner.word] == list(await session.scalars(text(TITLES)))


async def test_scope_set_by_hand_goes_with_its_savepoint(
    database: Database, owners: Owners
) -> None:
    """Settings stop forgotten filters, not who chooses the SQL; what she sets ends where it began.

    Inside it does change what is seen: this is no defence against injected statements.
    """
    by_hand = "select set_config('app.thread_id', :thread_id, true)"
    async with database.transaction(owners.owner.scope) as session:
        savepoint = await session.begin_nested()
        await session.execute(text(by_hand), {"thread_id": owners.same_user.thread_id})
        inside = list(await session.scalars(text(TITLES)))
        await savepoint.rollback()

        assert [owners.same_user.word] == inside
        assert [owners.owner.word] == list(await session.scalars(text(TITLES)))


@pytest.mark.parametrize("local", ["true", "false"])
@pytest.mark.parametrize("ending", ["commit", "rollback"])
async def test_scope_set_by_hand_is_not_the_next_ones(
    database: Database, owners: Owners, local: str, ending: str
) -> None:
    """Even what is set for the whole session shows the next scope nothing: it binds all five."""
    async with database.session(owners.owner.scope) as session:
        for name, value in owners.owner.scope.settings().items():
            await session.execute(
                text(f"select set_config('{name}', :value, {local})"), {"value": value}
            )
        await (session.commit() if ending == "commit" else session.rollback())

    for other in owners.others:
        await shown(database, other)
    login = DataScope.login(owners.owner.word)
    assert [] == await attempt(database, login, TITLES)


LEFT_BEHIND: Final = {
    "prepared statement": (
        "prepare kept as select content from messages",
        "execute kept",
    ),
    "held cursor": (
        "declare kept cursor with hold for select content from messages",
        "fetch all from kept",
    ),
    "search path": ("set search_path = pg_catalog", CONTENTS),
    "time zone": ("set timezone = 'Asia/Tokyo'", "select current_setting('timezone')"),
}


@pytest.mark.parametrize("what", LEFT_BEHIND)
async def test_what_a_session_leaves_behind_is_not_the_next_ones(
    database: Database, owners: Owners, what: str
) -> None:
    """What outlives a transaction on its connection shows the next scope nothing of the last."""
    leave, look = LEFT_BEHIND[what]
    clean = await attempt(database, owners.stranger.scope, "select current_setting('timezone')")
    await attempt(database, owners.owner.scope, leave)

    gave = await attempt(database, owners.stranger.scope, look)

    assert owners.owner.word not in str(gave)
    if what == "time zone":
        assert clean == gave
    if what == "search path":
        await shown(database, owners.stranger)


async def test_no_temporary_table_is_made(database: Database, owners: Owners) -> None:
    """What would be a copy that no policy guards, and outlive its transaction, is refused."""
    for sql in ("create temp table kept (t text)", "select * into temp kept from messages"):
        assert REFUSED == await attempt(database, owners.owner.scope, sql)


async def test_notification_says_nothing_to_the_next(database: Database, owners: Owners) -> None:
    """A channel that one scope listened on is silent for the next."""
    await attempt(database, owners.owner.scope, "listen kept")

    listening = "select count(*) from pg_listening_channels()"
    assert [(0,)] == await attempt(database, owners.stranger.scope, listening)


async def _cancelled(environment: Environment, database: Database, owner: Owner, how: str) -> None:
    """Ends a transaction that has written, in the middle of its next statement."""

    async def work() -> None:
        async with database.transaction(owner.scope) as session:
            await session.execute(RENAME, {"title": "never"})
            await session.execute(SLEEP)

    task = asyncio.create_task(work())
    admin = environment.postgres.admin
    busy = (
        "select pid from pg_stat_activity where query = $1 and state = 'active'"
        " and pid <> pg_backend_pid()"
    )
    sleeping = "select pg_sleep(30)"
    if how != "time-out":
        await until(lambda: admin.fetch(busy, sleeping))
    if how == "task":
        task.cancel()
    elif how != "time-out":
        function = {"query": "pg_cancel_backend", "connection": "pg_terminate_backend"}[how]
        [row] = admin.fetch(busy, sleeping)
        admin.fetch(f"select {function}({row['pid']})")
    with pytest.raises(asyncio.CancelledError if how == "task" else Unavailable):
        await task


@pytest.mark.parametrize("how", ["task", "time-out", "query", "connection"])
async def test_cancelled_statement_leaves_nothing_to_the_next(
    environment: Environment, owners: Owners, how: str
) -> None:
    """A write whose next statement is cancelled is undone, and the next scope has its own alone."""
    url = environment.postgres.url("backend", ROLE)
    limits = LIMITS if how == "time-out" else DatabaseLimits(statement_seconds=30.0)
    database = Database(url, pool_size=1, limits=limits)
    try:
        for owner, successor in zip(owners.everybody, reversed(owners.everybody), strict=True):
            await _cancelled(environment, database, owner, how)
            assert EMPTY == await settings_left(database)
            await shown(database, successor)
            await shown(database, owner)
    finally:
        await database.dispose()


@pytest.mark.parametrize("pool_size", [1, 3])
async def test_scopes_never_mix_over_a_pool(
    environment: Environment, owners: Owners, pool_size: int
) -> None:
    """Many tasks of many scopes that commit, fail and are cancelled: each always sees its own."""
    database = Database(environment.postgres.url("backend", ROLE), pool_size=pool_size)
    try:
        seen = await run_storm(database, drawn(owners.everybody, Random(pool_size), 64))
        for owner in owners.everybody:
            await shown(database, owner)
    finally:
        await database.dispose()

    assert [] == seen


async def test_concurrent_sessions_see_nothing_of_each_other(
    environment: Environment, owners: Owners
) -> None:
    """Open transactions of four scopes, one after the other's statements and commits: own rows."""
    database = Database(environment.postgres.url("backend", ROLE), pool_size=4)
    sessions: list[tuple[Owner, AsyncSession]] = []
    try:
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            begun, done = asyncio.Barrier(4), asyncio.Barrier(4)

            async def work(owner: Owner) -> None:
                async with database.transaction(owner.scope) as session:
                    sessions.append((owner, session))
                    await session.execute(RENAME, {"title": owner.word})
                    await begun.wait()
                    assert [owner.word] == list(await session.scalars(text(TITLES)))
                    # Nobody waits for a row that another has locked: she does not see it.
                    locked = "select title from threads for update nowait"
                    assert [owner.word] == list(await session.scalars(text(locked)))
                    await done.wait()
                await shown(database, owner)

            for owner in owners.everybody:
                group.create_task(work(owner))
        assert {owner.word for owner in owners.everybody} == {owner.word for owner, _ in sessions}
    finally:
        await database.dispose()
