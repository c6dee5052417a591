from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy import text

from contracts.context import DataScope
from services.runtime.outbox import OutboxRelay, write_outbox
from services.runtime.postgres import Database
from services.runtime.postgres_errors import RowRefused
from services.runtime.streams import USAGE_STREAM, StreamProducer
from services.runtime.tests.probe import (
    RELAY,
    Probe,
    context_of_scope,
    eventually,
    stream_entries,
    thread_scope,
    usage_entry,
)
from tools.datastores import ValkeyServer
from watertight.events.v1.usage_pb2 import UsageEntry


@pytest.fixture
async def relay(probe: Probe, redis_url: str) -> AsyncIterator[OutboxRelay]:
    """A relay that has not started."""
    producer = StreamProducer(redis_url)
    relay = OutboxRelay(probe.url(RELAY), producer, poll_seconds=0.02, batch=10)
    yield relay
    await relay.stop()
    await producer.close()


async def _write(database: Database, usage_ids: list[str], scope: DataScope) -> None:
    context = context_of_scope(scope)
    async with database.transaction(scope) as session:
        for usage_id in usage_ids:
            await write_outbox(session, context, usage_entry(scope, usage_id))


def _published(valkey: ValkeyServer) -> list[str]:
    entries = stream_entries(valkey, USAGE_STREAM)
    return [UsageEntry.FromString(fields[b"entry"]).event.usage_id for fields in entries]


def _left(probe: Probe) -> int:
    return len(probe.rows("select outbox_id from outbox"))


async def test_committed_rows_are_published_in_order(
    probe: Probe, database: Database, relay: OutboxRelay, valkey: ValkeyServer
) -> None:
    """Every committed row reaches the stream once, in the order of its thread, and is gone."""
    await relay.start()
    for start in range(0, 60, 6):
        await _write(database, [f"u{n}" for n in range(start, start + 6)], thread_scope())
        relay.wake()
    await eventually(lambda: _left(probe) == 0)

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
    await eventually(lambda: _left(probe) == 0)

    assert ["done"] == _published(valkey)


async def test_relays_share_the_rows(
    probe: Probe, database: Database, redis_url: str, valkey: ValkeyServer
) -> None:
    """Several relays publish each row once between them."""
    producer = StreamProducer(redis_url)
    relays = [OutboxRelay(probe.url(RELAY), producer, poll_seconds=0.01, batch=3) for _ in range(3)]
    for relay in relays:
        await relay.start()
    for user in range(1, 5):
        await _write(database, [f"u{user}-{n}" for n in range(25)], thread_scope(user=user))
    await eventually(lambda: _left(probe) == 0)
    for relay in relays:
        await relay.stop()
    await producer.close()

    assert sorted(f"u{user}-{n}" for user in range(1, 5) for n in range(25)) == sorted(
        _published(valkey)
    )


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
    await eventually(lambda: _left(probe) == 0)

    assert ["u1", "u2"] == sorted(set(_published(valkey)))


async def test_relay_comes_back_after_postgres(
    probe: Probe, database: Database, relay: OutboxRelay, valkey: ValkeyServer
) -> None:
    """A connection that the server ended is opened again."""
    await relay.start()
    await _write(database, ["before"], thread_scope())
    await eventually(lambda: _published(valkey) == ["before"] and _left(probe) == 0)
    probe.rows(
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'probe_relay'"
    )
    await _write(database, ["after"], thread_scope())
    await eventually(lambda: _published(valkey) == ["before", "after"])


async def test_stream_that_is_full_leaves_the_rows(
    probe: Probe, database: Database, redis_url: str, valkey: ValkeyServer
) -> None:
    """At the backlog's limit rows wait in the outbox, and nothing in the stream is dropped."""
    producer = StreamProducer(redis_url, backlog_limit=2)
    relay = OutboxRelay(probe.url(RELAY), producer, poll_seconds=0.01, batch=2)
    await _write(database, ["u1", "u2", "u3"], thread_scope())
    await relay.start()
    await eventually(lambda: _left(probe) == 1)
    assert ["u1", "u2"] == _published(valkey)
    valkey.admin.delete(USAGE_STREAM)
    await eventually(lambda: _left(probe) == 0)
    await relay.stop()
    await producer.close()

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
        "update outbox set entry = 'x'",
        "truncate outbox",
    ],
)
async def test_relay_reads_and_deletes_its_table_alone(
    probe: Probe, database: Database, statement: str
) -> None:
    """The relay's role may lock, read and delete rows of the outbox, and change none."""
    await _write(database, ["u1"], thread_scope())
    connection = await asyncpg.connect(probe.url(RELAY).replace("+asyncpg", ""))
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    finally:
        await connection.close()
