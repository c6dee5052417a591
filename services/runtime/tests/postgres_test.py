from __future__ import annotations

import asyncio
import time
import traceback

import pytest
from sqlalchemy import text

from contracts.context import SESSION_SCOPE, DataScope, SessionScopeConflict, TenantId, UserId
from services.runtime.errors import Unavailable
from services.runtime.postgres import Database, DatabaseLimits
from services.runtime.postgres_errors import (
    ConstraintViolated,
    DatabaseError,
    RowRefused,
    StatementFailed,
    UnscopedTransaction,
)
from services.runtime.tests.probe import (
    Probe,
    add_note,
    context_of_scope,
    notes,
    thread_scope,
    user_scope,
)

_SETTINGS = text(
    "select current_setting('app.scope_kind', true), current_setting('app.tenant_id', true),"
    " current_setting('app.user_id', true), current_setting('app.thread_id', true),"
    " current_setting('app.lookup', true)"
)
_BACKEND = text("select pg_backend_pid()")
SECRET = "3f9canarycontent"


async def test_transaction_binds_all_five_settings(database: Database) -> None:
    """Inside of a transaction every setting says the scope, absent identifiers as empty."""
    async with database.transaction(thread_scope()) as session:
        row = (await session.execute(_SETTINGS)).one()

    assert ("thread", "tenant-1", "user-1-1", "thread-1", "") == tuple(row)


async def test_next_transaction_keeps_nothing(database: Database) -> None:
    """On the same connection a narrower scope leaves no setting of a wider one behind."""
    async with database.transaction(thread_scope()) as session:
        first = await session.scalar(_BACKEND)
    async with database.transaction(DataScope.login("name")) as session:
        second = await session.scalar(_BACKEND)
        row = (await session.execute(_SETTINGS)).one()

    assert first == second
    assert ("login", "", "", "", "name") == tuple(row)


@pytest.mark.parametrize("ending", ["commit", "rollback", "error"])
async def test_scope_ends_with_its_transaction(database: Database, ending: str) -> None:
    """However a transaction ends, its connection has no scope afterwards."""
    async with database.session(thread_scope()) as session:
        backend = await session.scalar(_BACKEND)
        if ending == "commit":
            await session.commit()
        elif ending == "rollback":
            await session.rollback()
        else:
            with pytest.raises(StatementFailed):
                await session.execute(text("select 1 / 0"))
    async with database._engine.connect() as core:
        raw = await core.get_raw_connection()
        assert raw.driver_connection is not None
        row = await raw.driver_connection.fetchrow(
            "select pg_backend_pid(), current_setting('app.scope_kind', true),"
            " current_setting('app.user_id', true)"
        )

    assert (backend, "", "") == tuple(row)


async def test_commits_what_was_written(probe: Probe, database: Database) -> None:
    """A transaction that ends well is there for everybody who may see it."""
    await add_note(database, thread_scope(), "note")

    assert [("note",)] == probe.rows("select note_id from notes")


async def test_rolls_back_on_any_exception(probe: Probe, database: Database) -> None:
    """An exception in the body undoes the transaction and comes out as it is."""
    insert = text("insert into notes values ('tenant-1', 'user-1-1', 'thread-1', 'n', 'b', 1)")

    async def write_and_fail() -> None:
        async with database.transaction(thread_scope()) as session:
            await session.execute(insert)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await write_and_fail()

    assert [] == probe.rows("select note_id from notes")


async def test_nothing_runs_without_a_scope(database: Database) -> None:
    """A session without a scope raises before any statement is sent."""
    async with database.session() as session:
        with pytest.raises(UnscopedTransaction):
            await session.execute(text("select 1"))


async def test_connection_without_a_scope_is_refused(database: Database) -> None:
    """The engine itself refuses a transaction that nobody gave a scope."""
    async with database._engine.connect() as connection:
        with pytest.raises(UnscopedTransaction):
            await connection.execute(text("select 1"))


async def test_connection_given_back_keeps_nothing_of_its_session(database: Database) -> None:
    """Settings of the session, held cursors and channels end with who had the connection."""
    async with database.transaction(thread_scope()) as session:
        for leave in (
            "set timezone = 'Asia/Tokyo'",
            "select set_config('app.tenant_id', 'left', false)",
            "declare held cursor with hold for select 1",
            "listen news",
        ):
            await session.execute(text(leave))
    async with database.transaction(DataScope.login("name")) as session:
        left = await session.execute(
            text(
                "select current_setting('timezone'),"
                " (select count(*) from pg_cursors where is_holdable),"
                " (select count(*) from pg_listening_channels())"
            )
        )

        assert ("UTC", 0, 0) == tuple(left.one())


async def test_savepoint_keeps_the_scope(database: Database) -> None:
    """Rolling back to a savepoint neither drops the scope nor restores another."""
    async with database.transaction(thread_scope()) as session:
        with pytest.raises(StatementFailed):
            async with session.begin_nested():
                await session.execute(text("select 1 / 0"))
        row = (await session.execute(_SETTINGS)).one()

    assert ("thread", "tenant-1", "user-1-1", "thread-1", "") == tuple(row)


async def test_context_binds_its_session(database: Database) -> None:
    """`with_db_session` gives a `db` whose every transaction works under the context."""
    scope = thread_scope()
    await add_note(database, scope, "mine")
    await add_note(database, thread_scope(2, user=2), "hers")
    async with database.session() as session:
        context = context_of_scope(scope).with_db_session(session)
        first = list((await context.db.scalars(text("select note_id from notes"))).all())
        await context.db.commit()
        second = list((await context.db.scalars(text("select note_id from notes"))).all())

    assert ["mine"] == first == second


async def test_open_transaction_takes_no_second_scope(database: Database) -> None:
    """Within a transaction neither the context nor its session's info can change the scope."""
    async with database.session() as session:
        context = context_of_scope(thread_scope()).with_db_session(session)
        await context.db.execute(text("select 1"))
        with pytest.raises(SessionScopeConflict):
            context_of_scope(thread_scope(2)).with_db_session(session)
        session.info[SESSION_SCOPE] = thread_scope(2)
        with pytest.raises(SessionScopeConflict):
            await session.execute(text("select 1"))


async def test_closed_transaction_lets_the_session_go(database: Database) -> None:
    """After its transaction a session may serve another context, and then serves that one."""
    await add_note(database, thread_scope(), "mine")
    async with database.session() as session:
        context_of_scope(thread_scope(2)).with_db_session(session)
        await session.execute(text("select 1"))
        await session.commit()
        context = context_of_scope(thread_scope()).with_db_session(session)
        found = list((await context.db.scalars(text("select note_id from notes"))).all())

    assert ["mine"] == found


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        (
            "insert into notes values ('tenant-1', 'user-1-1', 'thread-1', 'SECRET', null)",
            ConstraintViolated,
        ),
        (
            "insert into notes values ('tenant-1', 'user-9', 'thread-1', 'SECRET', 'b', 1)",
            RowRefused,
        ),
        ("select 'SECRET'::integer", StatementFailed),
        ("select SECRET from notes", StatementFailed),
        ("truncate notes", RowRefused),
    ],
)
async def test_errors_are_typed_and_quote_nothing(
    database: Database, statement: str, kind: type[DatabaseError]
) -> None:
    """A failure says its SQLSTATE; neither it nor anything that it came from quotes the row."""
    statement = statement.replace("SECRET", SECRET)
    with pytest.raises(kind) as caught:
        async with database.transaction(thread_scope()) as session:
            await session.execute(text(statement))
    chain = "".join(traceback.format_exception(caught.value)).replace(statement, "")

    assert SECRET not in chain
    assert SECRET not in repr(caught.value.__cause__)


async def test_unique_violation_names_its_constraint(database: Database) -> None:
    """The name of the key tells the caller which of her values is taken."""
    await add_note(database, thread_scope(), "note")
    with pytest.raises(ConstraintViolated) as caught:
        await add_note(database, thread_scope(), "note")

    assert ("23505", "notes_pkey") == (caught.value.sqlstate, caught.value.constraint)


async def test_cancelled_statement_discards_its_connection(database: Database) -> None:
    """Whatever a cancelled statement would still answer, nobody is there to read it."""
    started = asyncio.Event()
    backends: list[object] = []

    async def wait() -> None:
        async with database.transaction(thread_scope()) as session:
            backends.append(await session.scalar(_BACKEND))
            started.set()
            await session.execute(text("select pg_sleep(4)"))

    task = asyncio.create_task(wait())
    await started.wait()
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.transaction(user_scope(2)) as session:
        backends.append(await session.scalar(_BACKEND))

    assert backends[0] != backends[1]


async def test_begins_anew_where_the_pooled_connection_is_gone(
    probe: Probe, database: Database
) -> None:
    """A connection that the server closed while it was idle costs its next user nothing."""
    await add_note(database, thread_scope(), "note")
    probe.rows(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and usename = 'probe_service'"
    )

    assert ["note"] == await notes(database, thread_scope())


async def test_slow_statement_is_unavailable(probe: Probe) -> None:
    """The server ends a statement at its limit."""
    database = Database(probe.url(), limits=DatabaseLimits(statement_seconds=0.05))
    with pytest.raises(Unavailable):
        async with database.transaction(thread_scope()) as session:
            await session.execute(text("select pg_sleep(5)"))
    await database.dispose()


async def test_exhausted_pool_is_unavailable(probe: Probe) -> None:
    """Who waits too long for a connection is told so."""
    database = Database(probe.url(), pool_size=1, limits=DatabaseLimits(checkout_seconds=0.05))
    async with database.transaction(thread_scope()):
        with pytest.raises(Unavailable):
            async with database.transaction(thread_scope(2)):
                pass
    await database.dispose()


async def test_waiting_for_a_lock_is_unavailable(probe: Probe) -> None:
    """A row that another holds is waited for at most as long as the limit says."""
    database = Database(probe.url(), pool_size=2, limits=DatabaseLimits(lock_seconds=0.05))
    await add_note(database, thread_scope(), "note")
    locked = text("select 1 from notes for update")
    async with database.transaction(thread_scope()) as session:
        await session.execute(locked)
        with pytest.raises(Unavailable):
            async with database.transaction(thread_scope()) as other:
                await other.execute(locked)
    await database.dispose()


async def test_server_that_is_gone_is_unavailable() -> None:
    """No server: a typed refusal, and `ping` says no."""
    database = Database("postgresql+asyncpg://nobody:x@127.0.0.1:1/none")
    with pytest.raises(Unavailable):
        async with database.transaction(thread_scope()):
            pass

    assert not await database.ping()
    await database.dispose()


async def test_server_that_hangs_is_unavailable(probe: Probe) -> None:
    """A server that answers nothing is given up within the client's own limits."""
    limits = DatabaseLimits(command_seconds=0.2, connect_seconds=0.2)
    database = Database(probe.url(), pool_size=1, limits=limits)
    await add_note(database, thread_scope(), "note")
    probe.server.process.pause()
    try:
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await notes(database, thread_scope())
        elapsed = time.monotonic() - started
    finally:
        probe.server.process.resume()

    assert elapsed < 5
    assert ["note"] == await notes(database, thread_scope())
    await database.dispose()


async def test_ping_needs_no_scope(database: Database) -> None:
    """Readiness asks for nobody's data."""
    assert await database.ping()


async def test_scope_is_a_value_not_a_statement(database: Database) -> None:
    """Hostile identifiers are bound as they are."""
    hostile = DataScope.user(TenantId("t'); drop table notes; --"), UserId("app.user_id"))
    async with database.transaction(hostile) as session:
        row = (await session.execute(_SETTINGS)).one()

    assert ("user", "t'); drop table notes; --", "app.user_id", "", "") == tuple(row)
