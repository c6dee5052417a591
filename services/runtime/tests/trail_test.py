from __future__ import annotations

import pytest
from sqlalchemy import text

from contracts.context import DataScope, RequestId, TenantId, UserId
from services.runtime.postgres import Database
from services.runtime.postgres_errors import ConstraintViolated, RowRefused
from services.runtime.tests.probe import (
    TRACE_ID,
    Probe,
    context_of_scope,
    thread_scope,
    user_scope,
)
from services.runtime.trail import Trail, TrailOutcome

_ROWS = (
    "select tenant_id, user_id, thread_id, run_id, request_id, parent_request_id, trace_id,"
    " action, outcome from trail"
)


async def _record(database: Database, scope: DataScope, whose: DataScope) -> None:
    async with database.transaction(scope) as session:
        await Trail().record(
            session,
            context_of_scope(whose),
            action="notes.create",
            outcome=TrailOutcome.OK,
            trace_id=TRACE_ID,
        )


async def test_row_says_who_what_and_how_it_ended(probe: Probe, database: Database) -> None:
    """A row has the context's identifiers, the trace, the action and the outcome."""
    await _record(database, thread_scope(), thread_scope())
    row = (
        *("tenant-1", "user-1-1", "thread-1", "run-1", "request-1", None),
        *(TRACE_ID, "notes.create", "ok"),
    )

    assert [row] == probe.rows(_ROWS)


async def test_user_scope_writes_for_its_threads(probe: Probe, database: Database) -> None:
    """What a user does in a thread may be told in her own scope, too."""
    await _record(database, user_scope(), thread_scope())

    assert 1 == len(probe.rows(_ROWS))


@pytest.mark.parametrize("whose", [thread_scope(2), thread_scope(1, user=2), user_scope()])
async def test_row_of_another_context_is_refused(database: Database, whose: DataScope) -> None:
    """Under a thread's scope a row must be of that thread."""
    with pytest.raises(RowRefused):
        await _record(database, thread_scope(), whose)


async def test_nobody_is_told_of_under_kind_system_only(probe: Probe, database: Database) -> None:
    """A failed log-in of an unknown name is the tenant's, and of no user."""

    async def record(scope: DataScope, user_id: UserId | None) -> None:
        async with database.transaction(scope) as session:
            await Trail().record_principal(
                session,
                tenant_id=TenantId("tenant-1"),
                user_id=user_id,
                request_id=RequestId("request-1"),
                action="sessions.open",
                outcome=TrailOutcome.REFUSED,
                trace_id=TRACE_ID,
            )

    await record(DataScope.system(TenantId("tenant-1")), None)
    with pytest.raises(RowRefused):
        await record(user_scope(), None)
    with pytest.raises(RowRefused):
        await record(DataScope.system(TenantId("tenant-2")), None)

    assert [("tenant-1", None)] == probe.rows("select tenant_id, user_id from trail")


@pytest.mark.parametrize(
    "statement", ["select 1 from trail", "update trail set outcome = 'ok'", "delete from trail"]
)
async def test_trail_is_append_only(database: Database, statement: str) -> None:
    """The service's role can neither read nor change what it wrote."""
    await _record(database, thread_scope(), thread_scope())
    with pytest.raises(RowRefused):
        async with database.transaction(thread_scope()) as session:
            await session.execute(text(statement))


async def test_rolled_back_work_leaves_no_row(probe: Probe, database: Database) -> None:
    """The row and what it tells of are one transaction."""
    async with database.session(thread_scope()) as session:
        await Trail().record(
            session,
            context_of_scope(thread_scope()),
            action="notes.create",
            outcome=TrailOutcome.OK,
            trace_id=TRACE_ID,
        )
        await session.rollback()

    assert [] == probe.rows(_ROWS)


@pytest.mark.parametrize("action", ["", "Notes", "notes.create 3f9canary", "a" * 65, "notes."])
async def test_action_has_no_room_for_content(database: Database, action: str) -> None:
    """An action is of fixed words, and a trace of hexadecimal digits."""
    context = context_of_scope(thread_scope())
    async with database.transaction(thread_scope()) as session:
        with pytest.raises(ValueError, match="action"):
            await Trail().record(
                session, context, action=action, outcome=TrailOutcome.OK, trace_id=TRACE_ID
            )
        with pytest.raises(ValueError, match="trace_id"):
            await Trail().record(
                session, context, action="a", outcome=TrailOutcome.OK, trace_id="3f9canary"
            )


async def test_table_checks_the_same(database: Database) -> None:
    """A statement that goes past this module finds the same limits in the table."""
    insert = text(
        "insert into trail (tenant_id, user_id, request_id, trace_id, action, outcome)"
        " values ('tenant-1', 'user-1-1', 'r', :trace_id, 'Some content', 'ok')"
    )
    with pytest.raises(ConstraintViolated):
        async with database.transaction(user_scope()) as session:
            await session.execute(insert, {"trace_id": TRACE_ID})
