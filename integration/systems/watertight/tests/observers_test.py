import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from contracts.context import (
    DataScope,
    RequestId,
    RunId,
    TenantId,
    ThreadId,
    UserExecutionContext,
    UserId,
    scoped_key,
)
from contracts.context.carriers.entry import make_usage_entry, write_entry
from integration.audit import Channel, Observation
from integration.systems.watertight.entries import (
    observe_streams,
    usage_stream,
)
from integration.systems.watertight.keys import observe_keys, observe_published
from integration.systems.watertight.rows import observe_rows
from tools.datastores import PostgresServer, ValkeyServer
from watertight.events.v1.usage_pb2 import UsageEvent

STREAM = usage_stream()
DEAD_LETTERS = f"{STREAM}:dead"
CONFIRMATIONS = f"{STREAM}:stored"
NOW = datetime.now(UTC)
CONTEXT = UserExecutionContext(
    tenant_id=TenantId("tenant"),
    user_id=UserId("user"),
    thread_id=ThreadId("thread"),
    run_id=RunId("run"),
    request_id=RequestId("request"),
    issued_at=NOW,
    expires_at=NOW + timedelta(minutes=1),
)
OWNER = {"tenant": "tenant", "user": "user", "thread": "thread"}
TRACE = "a" * 32


@pytest.fixture
async def redis(valkey: ValkeyServer) -> AsyncIterator[Redis]:
    """All rights on an empty server."""
    client = Redis.from_url(valkey.admin_url)
    await client.flushall()
    yield client
    await client.aclose()


async def command(redis: Redis, *words: object) -> None:
    """Sends any command, whatever its types."""
    untyped: Any = redis
    await untyped.execute_command(*words)


async def collected(source: AsyncIterator[Observation]) -> dict[str, Observation]:
    """Everything that an observer gives, by the first word of its data."""
    return {str(each.data).split()[0]: each async for each in source}


async def test_every_key_is_seen_with_its_whole_value(redis: Redis) -> None:
    """A key tells its owner; one that tells nobody may hold nothing of anybody."""
    key = f"wt:backend:{scoped_key('transcript', CONTEXT.data_scope, '5')}"
    await redis.set(key, "content")
    await command(redis, "HSET", "cache", "user-1", "secret")

    seen = await collected(observe_keys(redis))

    assert OWNER == seen[key].attribution
    assert f"{key} = content" == seen[key].data
    assert None is seen[key].allowed
    assert "secret" in str(seen["cache"].data)
    assert () == seen["cache"].allowed


async def test_lookup_key_belongs_to_whom_its_value_names(redis: Redis) -> None:
    """A ticket's key tells nobody by itself; what it admits says whom."""
    key = f"wt:backend:{scoped_key('ticket', DataScope.login('abc'))}"
    await redis.set(key, '{"tenant_id": "tenant", "user_id": "user"}')

    seen = await collected(observe_keys(redis))

    assert {"tenant": "tenant", "user": "user"} == seen[key].attribution


async def test_stream_entries_and_dead_letters_are_seen(redis: Redis) -> None:
    """A good entry is its context's; a malformed one is nobody's, and may hold nothing."""
    event = UsageEvent(usage_id="usage", thread_id="thread", run_id="run")
    entry = make_usage_entry(CONTEXT, event, f"00-{TRACE}-{'b' * 16}-01", NOW)
    for name, value in write_entry(entry).items():
        await command(redis, "XADD", STREAM, "*", name, value)
    await command(redis, "XADD", DEAD_LETTERS, "*", "reason", "malformed")

    seen = {each.source: each async for each in observe_streams(redis)}

    expected = {**OWNER, "run": "run", "request": "request", "trace": TRACE}
    assert expected == seen[f"redis: {STREAM}"].attribution
    assert () == seen[f"redis: {DEAD_LETTERS}"].allowed


async def test_confirmations_are_their_users(redis: Redis) -> None:
    """A confirmation is attributed by what it says; one that says nothing may hold nothing."""
    sound = ("tenant_id", "tenant", "user_id", "user", "usage_id", "x", "outcome", "stored")
    for fields in (sound, ("user_id", "user")):
        await command(redis, "XADD", CONFIRMATIONS, "*", *fields)

    confirmed, malformed = [each async for each in observe_streams(redis)]

    assert {"tenant": "tenant", "user": "user"} == confirmed.attribution
    assert None is confirmed.allowed
    assert () == malformed.allowed


async def test_published_messages_are_seen_by_their_channel(redis: Redis) -> None:
    """The observer hears every channel, and attributes by its name."""
    channel = f"wt:backend:{scoped_key('thread', CONTEXT.data_scope)}"
    seen = observe_published(redis)
    first = asyncio.ensure_future(anext(seen))
    async with asyncio.timeout(5.0):
        while not first.done():
            await redis.publish(channel, "12")
            await asyncio.wait([first], timeout=0.02)

    assert Channel.REDIS_PUBSUB == first.result().channel
    assert OWNER == first.result().attribution
    assert f"{channel} = 12" == first.result().data


async def test_every_row_is_seen_past_its_policies(postgres: PostgresServer) -> None:
    """Rows are seen whole, bytes too; trail rows are on their own channel."""
    postgres.create_database("observed")
    for statement in (
        "CREATE TABLE notes (tenant_id text, thread_id text, body bytea)",
        "ALTER TABLE notes ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE notes FORCE ROW LEVEL SECURITY",
        "INSERT INTO notes VALUES ('tenant', 'thread', 'canary'::bytea)",
        f"CREATE TABLE trail AS SELECT 'tenant' AS tenant_id, '{TRACE}' AS trace_id",
        "CREATE TABLE versions AS SELECT '0001' AS version",
    ):
        postgres.admin.execute(statement, database="observed")

    found = [each async for each in observe_rows("observed", postgres.admin.dsn("observed"))]

    seen = {each.source: each for each in found}
    notes = seen["observed: table notes"]
    assert {"tenant": "tenant", "thread": "thread"} == notes.attribution
    assert "canary" in str(notes.data)
    trail = seen["observed: table trail"]
    assert Channel.AUDIT_TRAIL == trail.channel
    assert {"tenant": "tenant", "trace": TRACE} == trail.attribution
    assert () == seen["observed: table versions"].allowed
