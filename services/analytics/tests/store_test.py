from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from contracts.context import DataScope, TenantId, UserExecutionContext
from services.analytics.domain import TenantTotals, UsageTotals
from services.analytics.tests.stage import TRACE_ID, Stage, context
from services.runtime.postgres_errors import RowRefused

NONE = UsageTotals(0, 0, 0)


async def test_usage_is_stored_once(stage: Stage) -> None:
    """The same identifier again, at once or later, changes nothing and is told so."""
    of = context()
    stored = await asyncio.gather(*(stage.record(of, "usage-1") for _ in range(8)))

    assert 1 == sum(stored)
    assert not await stage.record(of, "usage-1", (100, 100))
    assert UsageTotals(1, 3, 5) == await stage.store.sum_of_thread(of, trace_id=TRACE_ID)


async def test_same_identifier_of_another_user_is_another_usage(stage: Stage) -> None:
    """A key that one user has taken tells another nothing, within a tenant or without."""
    owners = [context(), context("user-b"), context("user-b", "tenant-b")]
    stored = [await stage.record(owner, "usage-1") for owner in owners]

    assert [True, True, True] == stored
    assert [(3,)] == stage.rows("select count(*) from usage_events")


async def test_thread_has_its_own_sums(stage: Stage) -> None:
    """The sums of a thread are of its user's runs in it, and of nobody else's."""
    for of in (context(), context(), context(thread="thread-b"), context("user-b")):
        await stage.record(of)

    assert UsageTotals(2, 6, 10) == await stage.store.sum_of_thread(context(), trace_id=TRACE_ID)


@pytest.mark.parametrize(
    "asker", [context("user-b"), context("user-a", "tenant-b"), context(thread="absent")]
)
async def test_another_thread_and_none_are_the_same(
    stage: Stage, asker: UserExecutionContext
) -> None:
    """Another's thread, and one that does not exist, have no usage."""
    await stage.record(context())

    assert NONE == await stage.store.sum_of_thread(asker, trace_id=TRACE_ID)


async def test_tenant_has_the_sums_of_its_users(stage: Stage) -> None:
    """A tenant's sums are exact, count each active user once, and leave other tenants out."""
    for of in (context(), context(thread="thread-b"), context("user-b"), context(tenant="b")):
        await stage.record(of, characters=(10, 1))

    assert TenantTotals(UsageTotals(3, 30, 3), 2) == await stage.store.sum_of_tenant(
        TenantId("tenant-a")
    )
    assert TenantTotals(NONE, 0) == await stage.store.sum_of_tenant(TenantId("nobody"))


async def test_kind_tenant_reads_usage_and_does_nothing_else(stage: Stage) -> None:
    """Under a tenant's scope usage rows are seen, and none can be written anywhere."""
    await stage.record(context())
    scope = DataScope.tenant(TenantId("tenant-a"))
    statements = [
        "insert into usage_events values ('tenant-a', 'user-a', 'u', 't', 'run', 1, 1, now())",
        "insert into trail (tenant_id, user_id) values ('tenant-a', 'user-a')",
        "update usage_events set input_characters = 0",
        "delete from usage_events",
        "select 1 from trail",
    ]
    for statement in statements:
        with pytest.raises(RowRefused):
            async with stage.database.transaction(scope) as session:
                await session.execute(text(statement))
    async with stage.database.transaction(scope) as session:
        assert 1 == await session.scalar(text("select count(*) from usage_events"))


async def test_usage_is_written_under_its_own_thread(stage: Stage) -> None:
    """A row of another thread, user or tenant than the transaction's is refused."""
    insert = text(
        "insert into usage_events values"
        " (:tenant_id, :user_id, 'u', :thread_id, 'run', 1, 1, now())"
    )
    other = [context(thread="thread-b"), context("user-b"), context(tenant="tenant-b")]
    for of in other:
        row = {"tenant_id": of.tenant_id, "user_id": of.user_id, "thread_id": of.thread_id}
        with pytest.raises(RowRefused):
            async with stage.database.transaction(context().data_scope) as session:
                await session.execute(insert, row)


async def test_trail_tells_who_did_what(stage: Stage) -> None:
    """Each operation leaves a row with its context, its trace and no figures."""
    of = context()
    await stage.record(of)
    await stage.store.sum_of_thread(of, trace_id=TRACE_ID)
    await stage.store.record_totals_request(context(thread=None), trace_id=TRACE_ID)
    found = stage.rows(
        "select user_id, thread_id, action, outcome, trace_id from trail order by occurred_at"
    )

    assert [
        ("user-a", "thread-a", "usage.record", "ok", TRACE_ID),
        ("user-a", "thread-a", "usage.thread", "ok", TRACE_ID),
        ("user-a", None, "usage.totals", "ok", TRACE_ID),
    ] == found
