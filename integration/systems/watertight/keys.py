"""The observers of Redis: keys and values at rest, and what is published meanwhile."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

from redis.asyncio import Redis

from contracts.context.keys import decode_parts
from integration.audit import Channel, Observation
from integration.environment import Names

# `contracts.context.keys`: namespace, kind, tenant, user, thread, look-up, names.
_SCOPE_PARTS: Final = {2: "tenant", 3: "user", 4: "thread"}
_SERVICE: Final = re.compile(r"[a-z]+:(?=\d+:|-)")
_OWN_SERVER: Final = Names()
_VALUE_FIELDS: Final = {"tenant_id": "tenant", "user_id": "user", "thread_id": "thread"}


def scope_of_key(key: str, names: Names = _OWN_SERVER) -> dict[str, str]:
    """Whose a key or a channel name says that it is; nobody's where it is not of our encoding."""
    root = f"{names.redis_namespace}:"
    if not key.startswith(root) or (match := _SERVICE.match(key, len(root))) is None:
        return {}
    parts = decode_parts(key[match.end() :]) or ()
    return {
        name: value
        for position, name in _SCOPE_PARTS.items()
        if position < len(parts) and (value := parts[position]) is not None
    }


async def observe_keys(redis: Redis, names: Names = _OWN_SERVER) -> AsyncIterator[Observation]:
    """Every key but the streams, with its whole value; on a shared server, of the run's keys."""
    async for raw in redis.scan_iter(match=names.redis_pattern, count=1000):
        key = raw.decode("utf-8", "backslashreplace")
        answer: Any = await redis.type(raw)
        kind = answer.decode()
        if kind == "stream":
            continue
        value = await _value(redis, raw, kind)
        attribution = scope_of_key(key, names) or _scope_of_value(value)
        yield Observation(
            Channel.REDIS_KEYS,
            f"{key} = {value}",
            attribution=attribution,
            # What says of nobody whose it is may hold nothing of anybody.
            allowed=None if attribution else (),
            source=f"redis: {kind} {key.split(',')[0]}",
        )


async def observe_published(redis: Redis, names: Names = _OWN_SERVER) -> AsyncIterator[Observation]:
    """Every message that is published from now on, whoever listens."""
    pubsub: Any = redis.pubsub()
    async with pubsub as listener:
        await listener.psubscribe(names.redis_pattern)
        async for message in listener.listen():
            if message["type"] != "pmessage":
                continue
            channel = message["channel"].decode("utf-8", "backslashreplace")
            payload = message["data"].decode("utf-8", "backslashreplace")
            attribution = scope_of_key(channel, names)
            yield Observation(
                Channel.REDIS_PUBSUB,
                f"{channel} = {payload}",
                attribution=attribution,
                allowed=None if attribution else (),
                source=f"redis: channel {channel.split(',')[0]}",
            )


async def _value(redis: Redis, key: bytes, kind: str) -> str:
    """A value of any type as text; empty where it has expired since."""
    readers: dict[str, Callable[[], Any]] = {
        "string": lambda: redis.get(key),
        "hash": lambda: redis.hgetall(key),
        "list": lambda: redis.lrange(key, 0, -1),
        "set": lambda: redis.smembers(key),
        "zset": lambda: redis.zrange(key, 0, -1, withscores=True),
    }
    value: Any = await readers[kind]() if kind in readers else None
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return "" if value is None else repr(value)


def _scope_of_value(value: str) -> dict[str, str]:
    """Whose a value says that it is, where its key is a look-up that tells nobody."""
    try:
        fields = json.loads(value)
    except ValueError:
        return {}
    if not isinstance(fields, Mapping):
        return {}
    return {
        name: fields[field]
        for field, name in _VALUE_FIELDS.items()
        if isinstance(fields.get(field), str)
    }
