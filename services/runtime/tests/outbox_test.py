from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from contracts.context import DataScope, UserExecutionContext
from services.runtime.confirmations import CONFIRMATIONS, Confirmations
from services.runtime.outbox import OutboxRelay, write_outbox
from services.runtime.postgres import Database
from services.runtime.postgres_errors import RowRefused
from services.runtime.streams import (
    USAGE_STREAM,
    ConsumerLimits,
    StreamConsumer,
    StreamProducer,
    confirmations_of,
)
from services.runtime.tests.probe import (
    RELAY,
    Probe,
    context_of_scope,
    stream_entries,
    thread_scope,
    usage_entry,
)
from tools.datastores import ValkeyServer
from tools.processes.waiting import until
from watertight.events.v1.usage_pb2 import UsageEntry

STORED = confirmations_of(USAGE_STREAM)

WAITS = (49, 99, 199, 399)  # milliseconds; the server's numbers have no fractions

MakeRelay = Callable[..., OutboxRelay]


@pytest.fixture
async def made(probe: Probe, redis_url: str) -> AsyncIterator[MakeRelay]:
    """Makes relays that have not started, and ends them."""
    async with AsyncExitStack() as stack:

        def make(
            *,
            resend_seconds: float = 60.0,
            backlog_limit: int = 1000,
            batch: int = 10,
            confirmations_batch: int = 1000,
        ) -> OutboxRelay:
            producer = StreamProducer(redis_url, backlog_limit=backlog_limit)
            confirmations = Confirmations(redis_url, batch=confirmations_batch)
            relay = OutboxRelay(
                probe.url(RELAY),
                producer,
                confirmations,
                poll_seconds=0.02,
                resend_seconds=resend_seconds,
                batch=batch,
            )
            for ended in (producer.close, confirmations.close, relay.stop):
                stack.push_async_callback(ended)
            return relay

        yield make


@pytest.fixture
def relay(made: MakeRelay) -> OutboxRelay:
    """A relay that has not started."""
    return made()


class Consumer:
    """Stores what the stream brings, once, as analytics does."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.taken: list[str] = []

    @property
    def stored(self) -> list[str]:
        """Each event once."""
        return sorted(set(self.taken))

    async def _take(self, _context: UserExecutionContext, entry: UsageEntry) -> None:
        self.taken.append(entry.event.usage_id)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Consumes inside the block."""
        limits = ConsumerLimits(block_seconds=0.05, retry_seconds=0.05)
        consumer = StreamConsumer(self.url, group="consumer", handler=self._take, limits=limits)
        await consumer.start()
        try:
            yield
        finally:
            await consumer.stop()


@pytest.fixture
def consumer(consumer_url: str) -> Consumer:
    """A consumer that has not started."""
    return Consumer(consumer_url)


async def _write(database: Database, usage_ids: list[str], scope: DataScope) -> None:
    context = context_of_scope(scope)
    async with database.transaction(scope) as session:
        for usage_id in usage_ids:
            await write_outbox(session, context, usage_entry(scope, usage_id))


def _published(valkey: ValkeyServer) -> list[str]:
    entries = stream_entries(valkey, USAGE_STREAM)
    return [UsageEntry.FromString(fields[b"entry"]).event.usage_id for fields in entries]


def _due(probe: Probe) -> int:
    return len(probe.rows("select outbox_id from outbox where sendings = 0"))


def _confirm(valkey: ValkeyServer, fields: Mapping[str, str | bytes]) -> None:
    valkey.admin.xadd(STORED, fields)  # type: ignore[arg-type]


def _confirmation(usage_id: str) -> dict[str, str | bytes]:
    return {
        "tenant_id": "tenant-1",
        "user_id": "user-1-1",
        "usage_id": usage_id,
        "outcome": "stored",
    }


def _counted(outcome: str) -> float:
    return float(CONFIRMATIONS.labels(outcome)._value.get())


def _left(probe: Probe) -> int:
    return len(probe.rows("select outbox_id from outbox"))


async def test_committed_rows_are_published_in_order(
    probe: Probe, database: Database, relay: OutboxRelay, valkey: ValkeyServer
) -> None:
    """Every committed row reaches the stream once, in the order of its thread."""
    await relay.start()
    for start in range(0, 60, 6):
        await _write(database, [f"u{n}" for n in range(start, start + 6)], thread_scope())
        relay.wake()
    await until(lambda: _due(probe) == 0)

    assert [f"u{n}" for n in range(60)] == _published(valkey)


async def test_rolled_back_row_is_never_published(
    probe: Probe, database: Database, relay: OutboxRelay, valkey: ValkeyServer
) -> None:
    """What was not committed did not happen."""
    context = context_of_scope(thread_scope())
    async with database.session(thread_scope()) as session:
        await write_outbox(session, context, usage_entry(thread_scope(), "undone"))
        await session.rollback()
    await _write(database, ["done"], thread_scope())
    await relay.start()
    await until(lambda: _due(probe) == 0)

    assert ["done"] == _published(valkey)


async def test_relays_share_the_rows(
    probe: Probe, database: Database, made: MakeRelay, valkey: ValkeyServer
) -> None:
    """Several relays publish each row once between them."""
    for _ in range(3):
        await made(batch=3).start()
    for user in range(1, 5):
        await _write(database, [f"u{user}-{n}" for n in range(25)], thread_scope(user=user))
    await until(lambda: _due(probe) == 0)

    assert sorted(f"u{user}-{n}" for user in range(1, 5) for n in range(25)) == sorted(
        _published(valkey)
    )


async def test_a_row_stays_until_it_is_confirmed(
    probe: Probe, database: Database, relay: OutboxRelay, consumer: Consumer
) -> None:
    """That Redis took an entry is no reason to let go of it; that its consumer stored it is."""
    await relay.start()
    await _write(database, ["u1", "u2"], thread_scope())
    await _write(database, ["u1"], thread_scope(user=2))
    await until(lambda: _due(probe) == 0)
    assert 3 == _left(probe)
    async with consumer.running():
        await until(lambda: _left(probe) == 0)

    assert ["u1", "u1", "u2"] == sorted(consumer.taken)


async def test_usage_survives_a_redis_that_comes_back_empty(
    probe: Probe,
    database: Database,
    made: MakeRelay,
    consumer: Consumer,
    valkey: ValkeyServer,
) -> None:
    """Killed after it took the entries and before anybody consumed them, it loses none for ever."""
    relay = made(resend_seconds=0.5)
    await relay.start()
    await _write(database, ["u1", "u2", "u3"], thread_scope())
    await until(lambda: _due(probe) == 0)
    await asyncio.to_thread(valkey.process.kill)
    await asyncio.to_thread(valkey.process.start)
    async with consumer.running():
        await until(lambda: _left(probe) == 0)

    assert ["u1", "u2", "u3"] == consumer.stored


async def test_unconfirmed_rows_go_out_ever_more_seldom(
    probe: Probe, database: Database, made: MakeRelay, valkey: ValkeyServer
) -> None:
    """A consumer that is away finds few repetitions: each wait is twice the last, up to 8 times."""
    await _write(database, ["u1"], thread_scope())
    relay = made(resend_seconds=0.05)
    await relay.start()
    await until(lambda: len(_published(valkey)) >= 5)
    await relay.stop()
    entries: Any = valkey.admin.xrange(USAGE_STREAM)
    sent = [int(identifier.split(b"-")[0]) for identifier, _ in entries]
    waited = [after - before for before, after in pairwise(sent)]

    assert [] == [(w, least) for w, least in zip(waited, WAITS, strict=False) if w < least]
    assert [(True,)] == probe.rows(
        "select due_at <= clock_timestamp() + interval '400 ms' from outbox"
    )


async def test_confirmations_are_for_one_users_usage(
    probe: Probe, database: Database, relay: OutboxRelay, valkey: ValkeyServer
) -> None:
    """The same usage identifier of another user or tenant stays."""
    owners = [thread_scope(), thread_scope(user=2), thread_scope(tenant=2)]
    for scope in owners:
        await _write(database, ["u1"], scope)
    await relay.start()
    await until(lambda: _due(probe) == 0)
    _confirm(valkey, _confirmation("u1"))
    await until(lambda: _left(probe) == 2)

    assert [("tenant-1", "user-1-2"), ("tenant-2", "user-2-1")] == probe.rows(
        "select tenant_id, user_id from outbox order by 1"
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"other": "x"},
        {"tenant_id": "tenant-1", "user_id": "user-1-1", "usage_id": "", "outcome": "stored"},
        {"tenant_id": "tenant-1", "user_id": "", "usage_id": "u1", "outcome": "stored"},
        {"tenant_id": "tenant-1", "user_id": "user-1-1", "usage_id": "u1", "outcome": "lost"},
        {"tenant_id": b"\xff", "user_id": "user-1-1", "usage_id": "u1", "outcome": "stored"},
    ],
    ids=["none of it", "no usage", "no user", "unknown outcome", "no text"],
)
async def test_malformed_confirmation_blocks_nothing(
    probe: Probe,
    database: Database,
    relay: OutboxRelay,
    valkey: ValkeyServer,
    fields: dict[str, str | bytes],
) -> None:
    """It is counted and passed over; the next one is heeded."""
    before = _counted("malformed")
    await _write(database, ["u1", "u2"], thread_scope())
    await relay.start()
    await until(lambda: _due(probe) == 0)
    _confirm(valkey, fields)
    _confirm(valkey, _confirmation("u2"))
    await until(lambda: _left(probe) == 1)

    assert [("u1",)] == probe.rows("select usage_id from outbox")
    assert before + 1 == _counted("malformed")


async def test_many_confirmations_are_read_in_pages(
    probe: Probe, database: Database, made: MakeRelay, valkey: ValkeyServer
) -> None:
    """What does not fit into one reading comes with the next, of several relays too."""
    await _write(database, [f"u{n}" for n in range(25)], thread_scope())
    for n in range(25):
        _confirm(valkey, _confirmation(f"u{n}"))
    for _ in range(2):
        await made(confirmations_batch=4).start()
    await until(lambda: _left(probe) == 0)


async def test_rows_wait_while_redis_is_away(
    probe: Probe, database: Database, relay: OutboxRelay, valkey: ValkeyServer
) -> None:
    """Without Redis the rows stay; when it is back they are published, each at least once."""
    await relay.start()
    valkey.process.kill()
    try:
        await _write(database, ["u1", "u2"], thread_scope())
        relay.wake()
        await asyncio.sleep(0.2)
        assert 2 == _left(probe)
    finally:
        valkey.process.start()
    await until(lambda: _due(probe) == 0)

    assert ["u1", "u2"] == sorted(set(_published(valkey)))


async def test_relay_comes_back_after_postgres(
    probe: Probe, database: Database, relay: OutboxRelay, valkey: ValkeyServer
) -> None:
    """A connection that the server ended is opened again."""
    await relay.start()
    await _write(database, ["before"], thread_scope())
    await until(lambda: _published(valkey) == ["before"] and _due(probe) == 0)
    probe.rows(
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'probe_relay'"
    )
    await _write(database, ["after"], thread_scope())
    await until(lambda: _published(valkey) == ["before", "after"])


async def test_stream_that_is_full_leaves_the_rows(
    probe: Probe, database: Database, made: MakeRelay, valkey: ValkeyServer
) -> None:
    """At the backlog's limit rows wait in the outbox, and confirmations are heeded all the same."""
    relay = made(backlog_limit=2, batch=2)
    await _write(database, ["u1", "u2", "u3"], thread_scope())
    await relay.start()
    await until(lambda: _due(probe) == 1)
    assert ["u1", "u2"] == _published(valkey)
    _confirm(valkey, _confirmation("u1"))
    await until(lambda: _left(probe) == 2)
    valkey.admin.delete(USAGE_STREAM)
    await until(lambda: _due(probe) == 0)

    assert ["u3"] == _published(valkey)


async def test_service_cannot_read_the_outbox(database: Database) -> None:
    """The service adds rows and sees none, not even its own."""
    await _write(database, ["u1"], thread_scope())
    with pytest.raises(RowRefused):
        async with database.transaction(thread_scope()) as session:
            await session.execute(text("select 1 from outbox"))


async def test_row_of_another_thread_is_refused(database: Database) -> None:
    """A row must be of the thread that its transaction works in."""
    context = context_of_scope(thread_scope(2))
    with pytest.raises(RowRefused):
        async with database.transaction(thread_scope(1)) as session:
            await write_outbox(session, context, usage_entry(thread_scope(2), "u"))


@pytest.mark.parametrize(
    "statement",
    [
        "select 1 from threads",
        "select 1 from trail",
        "insert into outbox (tenant_id, user_id, thread_id, entry) values ('t', 'u', 'th', 'x')",
        "update outbox set enqueued_at = now()",
        "update outbox set usage_id = 'x'",
        "update outbox set entry = 'x'",
        "truncate outbox",
    ],
)
async def test_relay_works_on_its_table_alone(
    probe: Probe, database: Database, statement: str
) -> None:
    """The relay's role may read and delete rows of the outbox, and change when one is due."""
    await _write(database, ["u1"], thread_scope())
    connection = await asyncpg.connect(probe.url(RELAY).replace("+asyncpg", ""))
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    finally:
        await connection.close()
