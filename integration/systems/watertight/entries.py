"""The observer of Redis streams: every entry, those that were given up on included."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from google.protobuf.json_format import MessageToJson
from redis.asyncio import Redis

from contracts.context import ContextError
from contracts.context.carriers.entry import read_entry
from contracts.context.carriers.trace import TRACEPARENT_KEY, read_traceparent
from integration.audit import Channel, Observation

USAGE_STREAM: Final = "wt:stream:usage"
DEAD_LETTERS: Final = f"{USAGE_STREAM}:dead"
_BLOCK_MILLISECONDS: Final = 500
_BATCH: Final = 500


async def follow_streams(redis: Redis) -> AsyncIterator[Observation]:
    """Every entry from the first one on, as it is added; a consumer may remove it afterwards."""
    positions: dict[Any, Any] = {USAGE_STREAM: "0", DEAD_LETTERS: "0"}
    while True:
        found: Any = await redis.xread(positions, count=_BATCH, block=_BLOCK_MILLISECONDS)
        for raw, batch in found:
            stream = raw.decode()
            for identifier, fields in batch:
                positions[stream] = identifier
                yield _observation(stream, fields)


async def observe_streams(redis: Redis) -> AsyncIterator[Observation]:
    """Every entry that is in a stream, of whatever name."""
    async for raw in redis.scan_iter(count=1000, _type="stream"):
        first = "-"
        while True:
            batch: Any = await redis.xrange(raw, min=first, count=_BATCH)
            if not batch:
                break
            for _, fields in batch:
                yield _observation(raw.decode(), fields)
            first = f"({batch[-1][0].decode()}"


def _observation(stream: str, fields: Mapping[bytes, bytes]) -> Observation:
    try:
        context, entry = read_entry(fields)
    except ContextError:
        text = repr(dict(fields))
        return Observation(
            Channel.REDIS_STREAMS, text, attribution={}, allowed=(), source=f"redis: {stream}"
        )
    trace = read_traceparent([(TRACEPARENT_KEY, entry.traceparent)])
    attribution = {
        "tenant": str(context.tenant_id),
        "user": str(context.user_id),
        "thread": str(context.thread_id),
        "run": str(context.run_id),
        "request": str(context.request_id),
        **({} if trace is None else {"trace": trace.trace_id}),
    }
    return Observation(
        Channel.REDIS_STREAMS,
        MessageToJson(entry, indent=None),
        attribution=attribution,
        source=f"redis: {stream}",
    )
