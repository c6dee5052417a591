"""The observer of Redis streams: every entry and confirmation, and what was given up on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from google.protobuf.json_format import MessageToJson
from redis.asyncio import Redis

from contracts.context import ContextError
from contracts.context.carriers.confirmation import Confirmation, read_confirmation
from contracts.context.carriers.entry import read_entry
from contracts.context.carriers.trace import TRACEPARENT_KEY, read_traceparent
from integration.audit import Channel, Observation

USAGE_STREAM: Final = "wt:stream:usage"
DEAD_LETTERS: Final = f"{USAGE_STREAM}:dead"
CONFIRMATIONS: Final = f"{USAGE_STREAM}:stored"
_BLOCK_MILLISECONDS: Final = 500
_BATCH: Final = 500


async def follow_streams(redis: Redis) -> AsyncIterator[Observation]:
    """Every entry from the first one on, as it is added; a consumer may remove it afterwards."""
    positions: dict[Any, Any] = dict.fromkeys((USAGE_STREAM, DEAD_LETTERS, CONFIRMATIONS), "0")
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
    source = f"redis: {stream}"
    try:
        if stream == CONFIRMATIONS:
            return _confirmation(read_confirmation(fields), fields, source)
        context, entry = read_entry(fields)
    except ContextError:
        text = repr(dict(fields))
        return Observation(Channel.REDIS_STREAMS, text, attribution={}, allowed=(), source=source)
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
        source=source,
    )


def _confirmation(
    confirmation: Confirmation, fields: Mapping[bytes, bytes], source: str
) -> Observation:
    """It is its user's, and all of it is looked at: a field too many as well."""
    return Observation(
        Channel.REDIS_STREAMS,
        repr(dict(fields)),
        attribution={"tenant": str(confirmation.tenant_id), "user": str(confirmation.user_id)},
        source=source,
    )
