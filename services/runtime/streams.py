"""The usage stream: at-least-once delivery between services, each entry beside its own context.

Entries carry no token: at rest a context is attribution, not authority. The consumer acts as
itself, narrowed to the scope of the entry at hand, and of nothing else that it has seen.

Nothing unprocessed is ever trimmed. `MAXLEN` on XADD would drop the oldest entries, which may be
the ones that nobody has processed; so the consumer trims, up to its group's oldest pending entry,
what was processed over a minute ago. The producer stops at a limit; the rows wait in the outbox.

The stream is transport, and no store: a Redis that comes back empty loses nothing for ever. What a
consumer is done with it tells on `<stream>:stored`, by identifiers alone, after its own commit, and
for an entry that comes again as well; the outbox keeps each row until then, and sends it again. A
dead letter is confirmed too, as dead: the stream of dead letters has it, and sending it again would
only add another. That stream of confirmations is cut at a length, for one that is lost costs one
sending more. See `confirmations` and `outbox`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, cast

from grpc import StatusCode
from prometheus_client import Counter
from redis.asyncio.client import Pipeline
from redis.exceptions import ResponseError

from contracts.context import UserExecutionContext
from contracts.context.carriers.confirmation import (
    Outcome,
    confirmation_of,
    write_confirmation,
)
from contracts.context.carriers.entry import ENTRY_FIELD, MAXIMUM_ENTRY_BYTES, read_entry
from services.runtime.errors import Unavailable, from_error
from services.runtime.logging import error_fields, service_logger
from services.runtime.redis import connect, unavailable
from services.runtime.settings import REDIS_NAMESPACE
from watertight.events.v1.usage_pb2 import UsageEntry

ENTRIES: Final = Counter(
    "watertight_stream_entries", "Stream entries handled, by how it ended.", ("outcome",)
)

Handler = Callable[[UserExecutionContext, UsageEntry], Awaitable[None]]
Fields = Mapping[bytes, bytes]
Entry = tuple[bytes, Fields]

_MILLISECONDS: Final = 1000
_CLAIM_PAGES: Final = 20
_TRANSIENT: Final = frozenset(
    {StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED, StatusCode.RESOURCE_EXHAUSTED}
)


def usage_stream(system: str) -> str:
    """The name of the usage stream of the system whose setting `redis_namespace` that is."""
    return f"{system}:stream:usage"


USAGE_STREAM: Final = usage_stream(REDIS_NAMESPACE)


def confirmations_of(stream: str) -> str:
    """The stream on which the consumers of another confirm what they are done with."""
    return f"{stream}:stored"


class BacklogFull(Unavailable):
    """The consumers are behind by more entries than the limit."""


class StreamProducer:
    """Adds entries to the stream, under access rules that let it read none.

    Args:
        url: of Redis, under the producing service's user.
        stream: the stream's name.
        backlog_limit: how many entries it may hold, those of the last minute included.
    """

    def __init__(
        self, url: str, stream: str = USAGE_STREAM, *, backlog_limit: int = 100_000
    ) -> None:
        self._client = connect(url, pool_size=2)
        self._stream = stream
        self._backlog_limit = backlog_limit

    async def add(self, entries: Sequence[bytes]) -> None:
        """Adds serialised entries, in order.

        Raises:
            BacklogFull: there is no room for all of them now.
            Unavailable: Redis does not answer; some of them may have been added.
        """
        with unavailable():
            backlog = await self._client.xlen(self._stream)
            if backlog + len(entries) > self._backlog_limit:
                raise BacklogFull
            pipeline = self._client.pipeline(transaction=False)
            for entry in entries:
                _ = pipeline.xadd(self._stream, {ENTRY_FIELD: entry})
            await pipeline.execute()

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()


@dataclass(frozen=True, slots=True)
class ConsumerLimits:
    """How a consumer takes its work.

    An entry whose handler failed, or whose consumer died, is delivered again once it has been idle
    for `claim_idle_seconds`. One that fails for another reason than that a datastore is away goes
    to the dead letters after `attempts` deliveries.
    """

    batch: int = 50
    block_seconds: float = 0.5
    claim_idle_seconds: float = 5.0
    claim_every_seconds: float = 1.0
    retry_seconds: float = 0.5
    retention_seconds: float = 60.0
    attempts: int = 5
    dead_letters: int = 10_000
    confirmations: int = 10_000


def context_of(fields: Fields) -> tuple[UserExecutionContext, UsageEntry]:
    """The context that an entry's work is done under, and the entry: from the entry itself alone.

    Raises:
        ContextError: it is malformed.
    """
    return read_entry(fields)


class StreamConsumer:
    """One process's part of a consumer group. What it cannot read blocks nothing.

    Args:
        url: of Redis, under the consuming service's user.
        group: the consumer group; made where it is missing, from the stream's beginning.
        handler: does the work of one entry under its context. It may be called again with the same
            entry, and must then change nothing.
        stream: the stream's name; dead letters go to `<stream>:dead`, confirmations to
            `<stream>:stored`.
        limits: how it takes its work.
    """

    def __init__(
        self,
        url: str,
        *,
        group: str,
        handler: Handler,
        stream: str = USAGE_STREAM,
        limits: ConsumerLimits | None = None,
    ) -> None:
        self._limits = limits or ConsumerLimits()
        self._client = connect(url, pool_size=2, command_seconds=self._limits.block_seconds + 2.0)
        self._stream = stream
        self._dead = f"{stream}:dead"
        self._confirmations = confirmations_of(stream)
        # All processes of a group have one name: who holds an entry is judged by its idle time, and
        # names of processes that are gone would pile up.
        self._group = self._name = group
        self._handler = handler
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to consume; it needs no server yet."""
        self._stopping.clear()
        self._task = asyncio.create_task(self._run(), name="stream-consumer")

    async def stop(self, limit_seconds: float = 2.0) -> None:
        """Ends after the entry at hand, or is cancelled at the limit: what is pending stays so."""
        if self._task is not None:
            self._stopping.set()
            await asyncio.wait([self._task], timeout=limit_seconds)
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        await self._client.aclose()

    async def ping(self) -> bool:
        """Whether Redis answers."""
        try:
            with unavailable():
                return bool(await self._client.ping())
        except Unavailable:
            return False

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with unavailable():
                    await self._make_group()
                    await self._consume()
            except Exception as error:  # noqa: BLE001 -- the entries are still in the stream
                service_logger().warning("stream consumer waits", **error_fields(error))
                await self._pause()

    async def _make_group(self) -> None:
        try:
            await self._client.xgroup_create(self._stream, self._group, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def _consume(self) -> None:
        loop = asyncio.get_running_loop()
        claim_at = loop.time()
        while not self._stopping.is_set():
            if loop.time() >= claim_at:
                await self._claim()
                await self._trim()
                claim_at = loop.time() + self._limits.claim_every_seconds
            await self._take_all(await self._read())

    async def _read(self) -> list[Entry]:
        answer = await self._client.xreadgroup(
            self._group,
            self._name,
            {self._stream: ">"},
            count=self._limits.batch,
            block=int(self._limits.block_seconds * _MILLISECONDS),
        )
        return entries_of_streams(answer)

    async def _claim(self) -> None:
        """Takes over what was delivered and never acknowledged, from whomever."""
        start: object = "0-0"
        for _ in range(_CLAIM_PAGES):
            start, claimed, *_deleted = await self._client.xautoclaim(
                self._stream,
                self._group,
                self._name,
                min_idle_time=int(self._limits.claim_idle_seconds * _MILLISECONDS),
                start_id=cast("bytes", start),
                count=self._limits.batch,
            )
            if not await self._take_all(claimed) or start == b"0-0":
                return

    async def _trim(self) -> None:
        # In this order: what is delivered after the first question is newer than its answer, and
        # what was delivered before it and not acknowledged is in the second one's.
        groups = await self._client.xinfo_groups(self._stream)
        delivered = [_number(group["last-delivered-id"]) for group in groups]
        pending = await self._client.xpending(self._stream, self._group)
        kept = int((time.time() - self._limits.retention_seconds) * _MILLISECONDS)
        oldest = [_number(pending["min"])] if pending["pending"] else []
        first = min([*delivered, *oldest, (kept, 0)])
        await self._client.xtrim(self._stream, minid=f"{first[0]}-{first[1]}", approximate=False)

    async def _take_all(self, entries: Sequence[Entry]) -> bool:
        """Handles entries in order; False when a datastore is away, and the rest stays pending."""
        for identifier, fields in entries:
            if self._stopping.is_set():
                return False
            if not await self._take(identifier, fields):
                ENTRIES.labels("postponed").inc()
                await self._pause()
                return False
        return True

    async def _take(self, identifier: bytes, fields: Fields) -> bool:
        try:
            context, entry = context_of(fields)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it must block nothing
            await self._bury(identifier, fields, "malformed", error)
            return True
        try:
            await self._handler(context, entry)
        except Exception as error:  # noqa: BLE001 -- judged below
            return await self._failed(identifier, fields, error)
        pipeline = self._client.pipeline(transaction=False)
        self._confirm(pipeline, fields, Outcome.STORED)
        _ = pipeline.xack(self._stream, self._group, identifier)
        await pipeline.execute()
        ENTRIES.labels("handled").inc()
        return True

    async def _failed(self, identifier: bytes, fields: Fields, error: Exception) -> bool:
        code = from_error(error).code
        if code in _TRANSIENT:
            return False
        if code is StatusCode.INVALID_ARGUMENT:  # nor will it be valid the next time
            await self._bury(identifier, fields, "refused", error)
            return True
        pending = await self._client.xpending_range(
            self._stream, self._group, min=identifier, max=identifier, count=1
        )
        if not pending or int(pending[0]["times_delivered"]) >= self._limits.attempts:
            await self._bury(identifier, fields, "refused", error)
        else:
            ENTRIES.labels("failed").inc()
            service_logger().error(
                "stream entry failed", entry=identifier.decode(), **error_fields(error)
            )
        return True

    async def _bury(self, identifier: bytes, fields: Fields, reason: str, error: Exception) -> None:
        """Moves an entry to the dead letters, cut to the size that any good one has."""
        kept = (fields or {}).get(ENTRY_FIELD.encode(), b"")[:MAXIMUM_ENTRY_BYTES]
        # Should this end between the two, the dead letter is there twice, and not lost.
        pipeline = self._client.pipeline(transaction=False)
        _ = pipeline.xadd(
            self._dead,
            {"id": identifier, "reason": reason, ENTRY_FIELD: kept},
            maxlen=self._limits.dead_letters,
        )
        self._confirm(pipeline, fields or {}, Outcome.DEAD)
        _ = pipeline.xack(self._stream, self._group, identifier)
        await pipeline.execute()
        ENTRIES.labels(reason).inc()
        service_logger().error(
            "stream entry is dead", entry=identifier.decode(), reason=reason, **error_fields(error)
        )

    def _confirm(self, pipeline: Pipeline, fields: Fields, outcome: Outcome) -> None:
        # Before the acknowledgement: should this end between the two, the entry comes once more.
        if (confirmation := confirmation_of(fields, outcome)) is not None:
            _ = pipeline.xadd(
                self._confirmations,
                dict[Any, Any](write_confirmation(confirmation)),
                maxlen=self._limits.confirmations,
                approximate=True,
            )

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.retry_seconds):
                await self._stopping.wait()


def entries_of_streams(answer: Any) -> list[Entry]:
    """The entries that XREAD or XREADGROUP gave: in a map by RESP3, in a list by RESP2."""
    streams = answer.values() if isinstance(answer, dict) else [s for _, s in answer or ()]
    return [entry for stream in streams for entry in stream]


def _number(identifier: bytes | str) -> tuple[int, int]:
    text = identifier.decode() if isinstance(identifier, bytes) else identifier
    milliseconds, _, sequence = text.partition("-")
    return int(milliseconds), int(sequence)
