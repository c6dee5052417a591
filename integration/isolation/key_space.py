"""What is written into Redis while people work: every key, channel and entry, and whose it is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import redis

from contracts.context import DataScope, ScopeKind, TenantId, ThreadId, UserId
from contracts.context.keys import decode_parts
from integration.environment import Environment

STREAMS: Final = ("stream:usage", "stream:usage:dead", "stream:usage:stored")
"""The streams between services: of everybody, each entry of one."""

_NAMED: Final = frozenset(
    {
        *("get", "set", "del", "getdel", "exists", "type", "mget", "incr", "expire", "pexpire"),
        *("publish", "subscribe", "unsubscribe", "scan", "keys"),
        *("hget", "hset", "lpush", "rpush", "sadd", "zadd"),
        *("xadd", "xlen", "xack", "xautoclaim", "xpending", "xtrim"),
    }
)
_SUBCOMMANDS: Final = frozenset({"xgroup", "xinfo"})
_OF_NONE: Final = frozenset({"ping", "auth", "hello", "client", "select", "eval", "acl", "info"})
_SCOPE_PARTS: Final = 6


class NoOwner(Exception):
    """A key or channel that does not say whose it is, in the one encoding for that."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key or channel, read back: what it is of, and whose."""

    service: str
    namespace: str
    scope: DataScope
    names: tuple[str | None, ...]


def read_key(raw: str, system: str) -> Key:
    """What `ScopedRedis.name` was given.

    Raises:
        NoOwner: it gives no such name.
    """
    prefix, _, rest = raw.partition(":")
    service, _, encoded = rest.partition(":")
    parts = decode_parts(encoded)
    if prefix != system or parts is None or len(parts) < _SCOPE_PARTS:
        raise NoOwner(raw)
    namespace, kind, tenant_id, user_id, thread_id, lookup = parts[:_SCOPE_PARTS]
    try:
        scope = DataScope(
            ScopeKind(str(kind)),
            None if tenant_id is None else TenantId(tenant_id),
            None if user_id is None else UserId(user_id),
            None if thread_id is None else ThreadId(thread_id),
            lookup,
        )
    except ValueError as error:
        raise NoOwner(raw) from error
    return Key(service, str(namespace), scope, parts[_SCOPE_PARTS:])


class Watch:
    """Every key and channel that a command has named since the watch began."""

    def __init__(self, system: str) -> None:
        self._system = system
        self.named: set[str] = set()
        self.unread: list[str] = []

    def take(self, command: str) -> None:
        """Keeps what one command names, or the command where it is none that we know."""
        words = command.split(" ")
        name = words[0].lower()
        if name in _OF_NONE:
            return
        if name in _NAMED:
            self.named.add(words[1])
        elif name in _SUBCOMMANDS:
            self.named.add(words[2])
        elif name in {"xread", "xreadgroup"}:
            lowered = [word.lower() for word in words]
            self.named.add(words[lowered.index("streams") + 1])
        else:
            self.unread.append(command)

    @property
    def keys(self) -> list[Key]:
        """What was named, but the streams and the silent channel.

        Raises:
            NoOwner: something else was named that is nobody's.
        """
        known = {f"{self._system}:{stream}" for stream in STREAMS}
        return [
            read_key(name, self._system)
            for name in sorted(self.named - known)
            if not name.endswith(":silence")
        ]


@contextmanager
def watching(environment: Environment) -> Iterator[Watch]:
    """Watches every command of every client, those inside of scripts included (MONITOR)."""
    watch = Watch(environment.names.redis_namespace)
    client: Any = redis.Redis.from_url(environment.valkey.admin_url)
    with client.monitor() as monitor:

        def follow() -> None:
            try:
                for told in monitor.listen():
                    watch.take(told["command"])
                    if told["command"].lower() == "ping end-of-watch":
                        return
            except (redis.RedisError, OSError, ValueError):
                return

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield watch
        finally:
            _end(environment)
            thread.join(timeout=5.0)
    client.close()


def _end(environment: Environment) -> None:
    command: Any = environment.valkey.admin.execute_command
    command("PING", "end-of-watch")


def values_at_rest(environment: Environment, service: str) -> dict[str, bytes]:
    """Every key of a service and its value; those that expire meanwhile are left out."""
    admin: Any = environment.valkey.admin
    pattern = f"{environment.names.redis_namespace}:{service}:*"
    found = {raw.decode(): admin.get(raw) for raw in admin.scan_iter(match=pattern, count=1000)}
    return {key: value for key, value in found.items() if value is not None}
