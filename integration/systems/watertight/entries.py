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
from integration.environment import Names

_CONFIRMATIONS: Final = ":stored"
_SUFFIXES: Final = ("", ":dead", _CONFIRMATIONS)
_OWN_SERVER: Final = Names()
_BLOCK_MILLISECONDS: Final = 500
_BATCH: Final = 500


def usage_stream(names: Names = _OWN_SERVER) -> str:
    """What the usage stream is called on the server."""
    return f"{names.redis_namespace}:stream:usage"


async def follow_streams(redis: Redis, names: Names = _OWN_SERVER) -> AsyncIterator[Observation]:
    """Every entry from the first one on, as it is added; a consumer may remove it afterwards."""
    streams = [f"{usage_stream(names)}{suffix}" for suffix in _SUFFIXES]
    positions: dict[Any, Any] = dict.fromkeys(streams, "0")
    while True:
        found: Any = await redis.xread(positions, count=_BATCH, block=_BLOCK_MILLISECONDS)
        for raw, batch in found:
            stream = raw.decode()
            for identifier, fields in batch:
                positions[stream] = identifier
                yield _observation(stream, fields)


async def observe_streams(redis: Redis, names: Names = _OWN_SERVER) -> AsyncIterator[Observation]:
    """Every entry that is in a stream, of whatever name; on a shared server, of the run's."""
    async for raw in redis.scan_iter(match=names.redis_pattern, count=1000, _type="stream"):
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
        if stream.endswith(_CONFIRMATIONS):
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
