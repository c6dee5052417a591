from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from contracts.context import UserExecutionContext
from services.runtime.errors import InvalidArgument, Unavailable
from services.runtime.streams import (
    USAGE_STREAM,
    BacklogFull,
    ConsumerLimits,
    StreamConsumer,
    StreamProducer,
    confirmations_of,
)
from services.runtime.tests.probe import stream_entries, thread_scope, usage_entry
from tools.datastores import ValkeyServer
from tools.processes.waiting import until
from watertight.events.v1.usage_pb2 import UsageEntry, UsageEvent

DEAD = f"{USAGE_STREAM}:dead"
STORED = confirmations_of(USAGE_STREAM)
LIMITS = ConsumerLimits(
    block_seconds=0.05,
    claim_idle_seconds=0.2,
    claim_every_seconds=0.05,
    retry_seconds=0.05,
    attempts=3,
)


class Handler:
    """Keeps what it was given, and fails as it is told to."""

    def __init__(self) -> None:
        self.handled: list[tuple[str, str]] = []
        self.calls: list[str] = []
        self.failures: dict[str, Callable[[int], Exception | None]] = {}

    async def __call__(self, context: UserExecutionContext, entry: UsageEntry) -> None:
        """Handles one entry."""
        usage_id = entry.event.usage_id
        self.calls.append(usage_id)
        fails = self.failures.get(usage_id)
        error = None if fails is None else fails(self.calls.count(usage_id))
        if error is not None:
            raise error
        self.handled.append((usage_id, context.user_id))

    @property
    def identifiers(self) -> list[str]:
        """The events that it handled."""
        return [usage_id for usage_id, _ in self.handled]


def encoded(usage_id: str, user: int = 1) -> bytes:
    """An entry of a user's thread."""
    return usage_entry(thread_scope(user=user), usage_id).SerializeToString()


@pytest.fixture
async def producer(redis_url: str) -> AsyncIterator[StreamProducer]:
    """Under access rules that let it add and count."""
    producer = StreamProducer(redis_url)
    yield producer
    await producer.close()


@pytest.fixture
def handler() -> Handler:
    """What the consumers of a test call."""
    return Handler()


@asynccontextmanager
async def consuming(
    url: str, handler: Handler, limits: ConsumerLimits = LIMITS
) -> AsyncIterator[StreamConsumer]:
    """A consumer that runs."""
    consumer = StreamConsumer(url, group="consumer", handler=handler, limits=limits)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


def _confirmed(valkey: ValkeyServer) -> list[tuple[str, str, str]]:
    names = (b"user_id", b"usage_id", b"outcome")
    entries = stream_entries(valkey, STORED)
    user, usage, outcome = ([fields[n].decode() for fields in entries] for n in names)
    return list(zip(user, usage, outcome, strict=True))


def _pending(valkey: ValkeyServer) -> int:
    return int(valkey.admin.xpending(USAGE_STREAM, "consumer")["pending"])


async def test_each_entry_is_handled_under_its_own_context(
    producer: StreamProducer, consumer_url: str, handler: Handler, valkey: ValkeyServer
) -> None:
    """Entries are handled in order, each in the context that stands in it, and acknowledged."""
    await producer.add([encoded(f"u{n}", user=n) for n in (1, 2, 1)])
    async with consuming(consumer_url, handler):
        await until(lambda: len(handler.handled) == 3)
        await until(lambda: _pending(valkey) == 0)

    assert [("u1", "user-1-1"), ("u2", "user-1-2"), ("u1", "user-1-1")] == handler.handled


async def test_consumers_share_the_entries(
    producer: StreamProducer, consumer_url: str, handler: Handler
) -> None:
    """Several processes of a group handle each entry once between them."""
    async with consuming(consumer_url, handler), consuming(consumer_url, handler):
        await producer.add([encoded(f"u{n}") for n in range(200)])
        await until(lambda: len(handler.handled) >= 200)

    assert sorted(f"u{n}" for n in range(200)) == sorted(handler.identifiers)


async def test_what_is_handled_is_confirmed(
    producer: StreamProducer, consumer_url: str, handler: Handler, valkey: ValkeyServer
) -> None:
    """Whoever keeps an entry until then learns of it each time that it is handled."""
    await producer.add([encoded("u1"), encoded("u1"), encoded("u2", user=2)])
    async with consuming(consumer_url, handler):
        await until(lambda: valkey.admin.xlen(STORED) == 3)

    assert [("user-1-1", "u1", "stored")] * 2 + [("user-1-2", "u2", "stored")] == _confirmed(valkey)


async def test_what_was_not_handled_is_not_confirmed(
    producer: StreamProducer, consumer_url: str, handler: Handler, valkey: ValkeyServer
) -> None:
    """While a datastore is away nothing is said to be stored."""
    away = True
    handler.failures["u1"] = lambda _call: Unavailable() if away else None
    await producer.add([encoded("u1")])
    async with consuming(consumer_url, handler):
        await until(lambda: len(handler.calls) >= 2)
        assert [] == _confirmed(valkey)
        away = False
        await until(lambda: _confirmed(valkey) == [("user-1-1", "u1", "stored")])


async def test_a_dead_letter_is_confirmed_as_dead(
    producer: StreamProducer, consumer_url: str, handler: Handler, valkey: ValkeyServer
) -> None:
    """It is kept among the dead letters, so nobody need send it again; malformed or refused."""
    handler.failures["bad"] = lambda _call: InvalidArgument()
    malformed = UsageEntry.FromString(encoded("malformed"))
    malformed.event.thread_id = "thread-2"
    await producer.add([encoded("bad"), malformed.SerializeToString()])
    async with consuming(consumer_url, handler):
        await until(lambda: valkey.admin.xlen(STORED) == 2)

    assert [("user-1-1", "bad", "dead"), ("user-1-1", "malformed", "dead")] == _confirmed(valkey)
    assert 2 == valkey.admin.xlen(DEAD)


async def test_confirmations_are_bounded(
    producer: StreamProducer, consumer_url: str, handler: Handler, valkey: ValkeyServer
) -> None:
    """Nobody may be reading them: the oldest are cut off, a node of the stream at a time."""
    limits = dataclasses.replace(LIMITS, confirmations=10)
    await producer.add([encoded(f"u{n}") for n in range(500)])
    async with consuming(consumer_url, handler, limits):
        await until(lambda: len(handler.handled) == 500)
        await until(lambda: _pending(valkey) == 0)

    assert 10 <= valkey.admin.xlen(STORED) < 250


@pytest.mark.parametrize(
    "fields",
    [
        {"other": b"x"},
        {"entry": b""},
        {"entry": b"\xff\xff"},
        {"entry": b"x" * 5000},
        {"entry": UsageEntry().SerializeToString() or b"\x00"},
        {"entry": UsageEntry(event=UsageEvent(usage_id="u")).SerializeToString()},
    ],
    ids=["no entry", "empty", "no message", "oversized", "nothing in it", "no context"],
)
async def test_malformed_entry_blocks_nothing(
    producer: StreamProducer,
    consumer_url: str,
    handler: Handler,
    valkey: ValkeyServer,
    fields: dict[str, bytes],
) -> None:
    """What cannot be read goes to the dead letters, cut, and what follows is handled."""
    identifier = valkey.admin.xadd(USAGE_STREAM, fields)  # type: ignore[arg-type]
    await producer.add([encoded("next")])
    async with consuming(consumer_url, handler):
        await until(lambda: handler.identifiers == ["next"])
        await until(lambda: _pending(valkey) == 0)
    [dead] = stream_entries(valkey, DEAD)

    assert (identifier, b"malformed") == (dead[b"id"], dead[b"reason"])
    assert fields.get("entry", b"")[:4096] == dead[b"entry"]


async def test_entry_whose_context_contradicts_it_is_dead(
    producer: StreamProducer, consumer_url: str, handler: Handler, valkey: ValkeyServer
) -> None:
    """An event of another thread than its context is nobody's, and is not handled."""
    entry = UsageEntry.FromString(encoded("u"))
    entry.event.thread_id = "thread-2"
    await producer.add([entry.SerializeToString(), encoded("next")])
    async with consuming(consumer_url, handler):
        await until(lambda: handler.identifiers == ["next"])

    assert 1 == valkey.admin.xlen(DEAD)


async def test_postponed_entry_is_delivered_again(
    producer: StreamProducer, consumer_url: str, handler: Handler, valkey: ValkeyServer
) -> None:
    """While a datastore is away entries wait, however often they are tried; none is dead."""
    handler.failures["u1"] = lambda call: Unavailable() if call <= 5 else None
    await producer.add([encoded(f"u{n}") for n in range(3)])
    async with consuming(consumer_url, handler):
        await until(lambda: len(set(handler.identifiers)) == 3)
        await until(lambda: _pending(valkey) == 0)

    assert 6 == handler.calls.count("u1")
    assert 0 == valkey.admin.xlen(DEAD)


async def test_entry_that_always_fails_is_dead(
    producer: StreamProducer, consumer_url: str, handler: Handler, valkey: ValkeyServer
) -> None:
    """A failure that is nobody's outage ends after the attempts, and others are not held up."""
    handler.failures["bad"] = lambda _call: ZeroDivisionError()
    await producer.add([encoded("bad"), encoded("next")])
    async with consuming(consumer_url, handler):
        await until(lambda: handler.identifiers == ["next"])
        await until(lambda: valkey.admin.xlen(DEAD) == 1)
        await until(lambda: _pending(valkey) == 0)

    assert LIMITS.attempts == handler.calls.count("bad")


async def test_entry_that_can_never_be_valid_is_dead_at_once(
    producer: StreamProducer, consumer_url: str, handler: Handler, valkey: ValkeyServer
) -> None:
    """What the handler calls invalid is not tried again."""
    handler.failures["bad"] = lambda _call: InvalidArgument()
    await producer.add([encoded("bad")])
    async with consuming(consumer_url, handler):
        await until(lambda: valkey.admin.xlen(DEAD) == 1)

    assert ["bad"] == handler.calls


async def test_entry_of_a_dead_consumer_is_taken_over(
    producer: StreamProducer, consumer_url: str, handler: Handler, valkey: ValkeyServer
) -> None:
    """What a process held when it died is handled by another, once it has been idle."""
    valkey.admin.xgroup_create(USAGE_STREAM, "consumer", id="0", mkstream=True)
    await producer.add([encoded("held")])
    valkey.admin.xreadgroup("consumer", "consumer", {USAGE_STREAM: ">"})
    async with consuming(consumer_url, handler):
        await until(lambda: handler.identifiers == ["held"])
        await until(lambda: _pending(valkey) == 0)


async def test_stop_leaves_what_was_not_handled(
    producer: StreamProducer, consumer_url: str, handler: Handler, valkey: ValkeyServer
) -> None:
    """A consumer that stops ends after the entry at hand; the rest waits for another."""
    consumer = StreamConsumer(consumer_url, group="consumer", handler=handler, limits=LIMITS)

    def stop(_call: int) -> None:
        consumer._stopping.set()

    handler.failures["u0"] = stop
    await producer.add([encoded(f"u{n}") for n in range(3)])
    await consumer.start()
    await until(consumer._stopping.is_set)
    await consumer.stop()

    assert ["u0"] == handler.identifiers
    assert 2 == _pending(valkey)


async def test_producer_stops_at_the_limit(
    redis_url: str, consumer_url: str, handler: Handler, valkey: ValkeyServer
) -> None:
    """A stream that is full takes no more, and loses nothing; consumed and old it takes again."""
    producer = StreamProducer(redis_url, backlog_limit=3)
    await producer.add([encoded(f"u{n}") for n in range(3)])
    with pytest.raises(BacklogFull):
        await producer.add([encoded("u3")])
    limits = ConsumerLimits(block_seconds=0.05, claim_every_seconds=0.05, retention_seconds=0)
    async with consuming(consumer_url, handler, limits):
        await until(lambda: valkey.admin.xlen(USAGE_STREAM) <= 1)
        await producer.add([encoded("u3")])
        await until(lambda: len(handler.handled) == 4)
    await producer.close()

    assert ["u0", "u1", "u2", "u3"] == handler.identifiers


async def test_pending_entry_is_never_trimmed(
    producer: StreamProducer, consumer_url: str, handler: Handler, valkey: ValkeyServer
) -> None:
    """Trimming stops before the oldest entry that is not acknowledged."""
    away = True
    handler.failures["u0"] = lambda _call: Unavailable() if away else None
    limits = ConsumerLimits(
        block_seconds=0.05,
        claim_every_seconds=0.05,
        claim_idle_seconds=0.1,
        retry_seconds=0.01,
        retention_seconds=0,
    )
    await producer.add([encoded("u0")])
    async with consuming(consumer_url, handler, limits):
        await until(lambda: "u0" in handler.calls)
        await producer.add([encoded(f"u{n}") for n in range(1, 50)])
        await until(lambda: len(handler.handled) >= 49)
        # Each attempt to claim is followed by a trim.
        tried = handler.calls.count("u0")
        await until(lambda: handler.calls.count("u0") >= tried + 3)
        held = valkey.admin.xlen(USAGE_STREAM)
        away = False
        await until(lambda: "u0" in handler.identifiers)
        await until(lambda: valkey.admin.xlen(USAGE_STREAM) <= 1)

    assert 50 == held


async def test_consumer_survives_a_restart(
    producer: StreamProducer, consumer_url: str, handler: Handler, valkey: ValkeyServer
) -> None:
    """A Redis that came back without its data gets its group again."""
    async with consuming(consumer_url, handler):
        await producer.add([encoded("before")])
        await until(lambda: handler.identifiers == ["before"])
        await asyncio.to_thread(valkey.restart)
        await producer.add([encoded("after")])
        await until(lambda: handler.identifiers == ["before", "after"])


async def test_without_redis_nothing_is_added() -> None:
    """The producer says that Redis does not answer."""
    producer = StreamProducer("redis://user:password@127.0.0.1:1/0")
    with pytest.raises(Unavailable):
        await producer.add([encoded("u")])
    await producer.close()
