"""The stream's usage: under the entry's own context, its effect once, whatever fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from contracts.context import UserExecutionContext
from contracts.context.carriers.entry import write_entry
from services.analytics.domain import UsageTotals
from services.analytics.tests.stage import TRACE_ID, Stage, context, entry
from services.runtime.streams import ENTRIES, USAGE_STREAM, ConsumerLimits, StreamConsumer
from tools.datastores import PostgresServer, ValkeyServer
from tools.processes.waiting import until
from watertight.events.v1.usage_pb2 import UsageEntry

_LIMITS = ConsumerLimits(
    block_seconds=0.05, claim_idle_seconds=0.2, claim_every_seconds=0.05, retry_seconds=0.05
)


@pytest.fixture
def add(valkey: ValkeyServer, redis_url: str) -> Callable[[UsageEntry], None]:  # noqa: ARG001 -- the user exists first
    """Puts an entry into the empty stream, as the backend's relay does."""
    valkey.admin.delete(USAGE_STREAM, f"{USAGE_STREAM}:dead")

    def put(made: UsageEntry) -> None:
        valkey.admin.xadd(USAGE_STREAM, write_entry(made))  # type: ignore[arg-type]

    return put


@asynccontextmanager
async def _consuming(stage: Stage, redis_url: str) -> AsyncIterator[StreamConsumer]:
    consumer = StreamConsumer(
        redis_url, group="analytics", handler=stage.usage.consume, limits=_LIMITS
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def _until_rows(stage: Stage, count: int) -> None:
    await until(lambda: len(stage.rows("select 1 from usage_events")) >= count)


async def _until_done(valkey: ValkeyServer, count: int) -> None:
    await until(lambda: _is_done(valkey, count))


def _is_done(valkey: ValkeyServer, count: int) -> bool:
    groups = valkey.admin.xinfo_groups(USAGE_STREAM)  # none before the consumer has started
    return any(g["entries-read"] >= count and not g["pending"] for g in groups)


async def test_entries_are_stored_under_their_own_context(
    stage: Stage, redis_url: str, add: Callable[[UsageEntry], None]
) -> None:
    """However users' entries alternate, each user has the sums of her own."""
    users = [context("user-a"), context("user-b"), context("user-c", "tenant-b")]
    for _ in range(10):
        for of in users:
            add(entry(of))
    async with _consuming(stage, redis_url), _consuming(stage, redis_url):
        await _until_rows(stage, 30)

    for of in users:
        assert UsageTotals(10, 30, 50) == await stage.store.sum_of_thread(of, trace_id=TRACE_ID)


async def test_redelivery_and_hop_have_one_effect(
    stage: Stage, redis_url: str, valkey: ValkeyServer, add: Callable[[UsageEntry], None]
) -> None:
    """A usage that comes twice by the stream, and by a hop as well, counts once."""
    of = context()
    await stage.record(of, "usage-1")
    for usage_id in ("usage-1", "usage-2", "usage-2", "usage-1"):
        add(entry(of, usage_id))
    async with _consuming(stage, redis_url):
        await _until_done(valkey, 4)

    assert UsageTotals(2, 6, 10) == await stage.store.sum_of_thread(of, trace_id=TRACE_ID)


async def test_expired_context_is_attribution(
    stage: Stage, redis_url: str, valkey: ValkeyServer, add: Callable[[UsageEntry], None]
) -> None:
    """An entry was judged when it was written; how late it is consumed does not matter."""
    of = context()
    late = entry(of)
    for time in (late.context.issued_at, late.context.expires_at, late.enqueued_at):
        time.seconds -= 86_400
    add(late)
    async with _consuming(stage, redis_url):
        await _until_done(valkey, 1)

    assert UsageTotals(1, 3, 5) == await stage.store.sum_of_thread(of, trace_id=TRACE_ID)


async def test_trail_has_the_writers_trace(
    stage: Stage, redis_url: str, add: Callable[[UsageEntry], None]
) -> None:
    """What the stream brings is told under the context and the trace of who caused it."""
    of = context()
    add(entry(of))
    async with _consuming(stage, redis_url):
        await _until_rows(stage, 1)

    assert [("usage.consume", "user-a", of.request_id, TRACE_ID)] == stage.rows(
        "select action, user_id, request_id, trace_id from trail"
    )


@pytest.mark.parametrize("field", ["thread_id", "user_id"])
async def test_entry_that_contradicts_itself_is_dead(
    stage: Stage,
    redis_url: str,
    valkey: ValkeyServer,
    add: Callable[[UsageEntry], None],
    field: str,
) -> None:
    """An event under another's context is stored for nobody, and holds up nobody."""
    bad = entry(context())
    if field == "thread_id":
        bad.event.thread_id = "thread-b"
    else:
        bad.context.user_id = ""
    add(bad)
    add(entry(context("user-b")))
    async with _consuming(stage, redis_url):
        await _until_rows(stage, 1)

    assert [("user-b",)] == stage.rows("select user_id from usage_events")
    assert 1 == valkey.admin.xlen(f"{USAGE_STREAM}:dead")


async def test_entries_wait_while_postgres_is_away(
    stage: Stage,
    redis_url: str,
    postgres: PostgresServer,
    valkey: ValkeyServer,
    add: Callable[[UsageEntry], None],
) -> None:
    """Nothing is lost, dead or counted twice when Postgres is killed and comes back."""
    users: list[UserExecutionContext] = [context("user-a"), context("user-b")]
    postponed = ENTRIES.labels("postponed")
    before = postponed._value.get()
    async with _consuming(stage, redis_url):
        add(entry(users[0]))
        await _until_rows(stage, 1)
        # Orderly: lean settings do not survive a crash.
        await asyncio.to_thread(postgres.process.stop)
        for of in users:
            add(entry(of))
        await until(lambda: postponed._value.get() > before)
        await asyncio.to_thread(postgres.process.start)
        await _until_rows(stage, 3)
        await _until_done(valkey, 3)

    assert 0 == valkey.admin.xlen(f"{USAGE_STREAM}:dead")
    assert UsageTotals(2, 6, 10) == await stage.store.sum_of_thread(users[0], trace_id=TRACE_ID)
