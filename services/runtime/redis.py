"""Redis under a scope: no key and no channel can be named without one.

Keys and channels are `<system>:<service>:` and the injective encoding of `contracts.context.keys`.
There is no way to name a raw key, to list keys or to match a pattern. A command that is cancelled
or timed out closes its connection, so that its reply cannot reach the next caller.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

from contracts.context import DataScope, scoped_key
from services.runtime.errors import Unavailable
from services.runtime.settings import REDIS_NAMESPACE

_CONNECT_SECONDS: Final = 2.0
_COMMAND_SECONDS: Final = 2.0
_CHECKOUT_SECONDS: Final = 2.0
_MILLISECONDS: Final = 1000

# Sets a value unless a newer one is there. The expiry is absolute, so that a command which the
# server executes late, after its caller gave up, cannot bring an old value back for longer.
_SET_UNLESS_NEWER: Final = """
local held = redis.call('GET', KEYS[1])
if held and tonumber(string.match(held, '^(%d+):')) > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. ARGV[2], 'PXAT', ARGV[3])
return 1
"""


def connect(
    url: str, *, pool_size: int, command_seconds: float = _COMMAND_SECONDS, repetitions: int = 1
) -> Redis:
    """A client with limits on everything.

    It repeats a command when its pooled connection turns out to be closed, and never when the
    command was merely slow: it may have been executed.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=pool_size,
        timeout=_CHECKOUT_SECONDS,
        socket_connect_timeout=_CONNECT_SECONDS,
        socket_timeout=command_seconds,
        retry=Retry(NoBackoff(), repetitions, supported_errors=(RedisConnectionError,)),
        # A client's name and version would each be a command more that the service must be allowed.
        driver_info=None,
    )
    return Redis.from_pool(pool)


@contextmanager
def unavailable() -> Iterator[None]:
    """Turns a server that does not answer, or cannot now, into `Unavailable`."""
    try:
        yield
    except (RedisConnectionError, RedisTimeoutError, OutOfMemoryError, ReadOnlyError, OSError):
        # Not chained: redis-py quotes what the server said.
        raise Unavailable from None


class ScopedRedis:
    """A service's own keys and channels.

    Every method raises `Unavailable` when the server does not answer within 2 s.

    Args:
        url: `redis://user:password@host:port/0`.
        service: whose keys they are; the user's access rules admit `<system>:<service>:*` alone.
        system: the setting `redis_namespace`, which systems on one Redis differ in.
        pool_size: connections at most.
    """

    def __init__(
        self, url: str, service: str, *, system: str = REDIS_NAMESPACE, pool_size: int = 10
    ) -> None:
        self._url = url
        self._prefix = f"{system}:{service}:"
        self._client = connect(url, pool_size=pool_size)

    def name(self, namespace: str, scope: DataScope, *names: str) -> str:
        """The name of a key or channel; different arguments give different names."""
        return self._prefix + scoped_key(namespace, scope, *names)

    async def get(self, namespace: str, scope: DataScope, *names: str) -> bytes | None:
        """The value, or None where there is none."""
        with unavailable():
            return _bytes(await self._client.get(self.name(namespace, scope, *names)))

    async def set(
        self, namespace: str, scope: DataScope, *names: str, value: bytes, lifetime_seconds: int
    ) -> None:
        """Stores a value for so long; nothing is stored for ever."""
        with unavailable():
            key = self.name(namespace, scope, *names)
            await self._client.set(key, value, ex=lifetime_seconds)

    async def take(self, namespace: str, scope: DataScope, *names: str) -> bytes | None:
        """Reads a value and removes it in one step: of several callers one gets it."""
        with unavailable():
            return _bytes(await self._client.getdel(self.name(namespace, scope, *names)))

    async def delete(self, namespace: str, scope: DataScope, *names: str) -> None:
        """Removes a value, if there is one."""
        with unavailable():
            await self._client.delete(self.name(namespace, scope, *names))

    async def get_version(
        self, namespace: str, scope: DataScope, *names: str
    ) -> tuple[int, bytes] | None:
        """What `set_version` stored: the version and the value."""
        held = await self.get(namespace, scope, *names)
        if held is None:
            return None
        version, _, value = held.partition(b":")
        return int(version), value

    async def set_version(
        self,
        namespace: str,
        scope: DataScope,
        *names: str,
        version: int,
        value: bytes,
        lifetime_seconds: int,
    ) -> bool:
        """Stores a value unless a newer version of it is there; gives whether it did."""
        expires = int((time.time() + lifetime_seconds) * _MILLISECONDS)
        key = self.name(namespace, scope, *names)
        with unavailable():
            stored = await self._client.eval(_SET_UNLESS_NEWER, 1, key, version, value, expires)
        return bool(stored)

    async def publish(self, namespace: str, scope: DataScope, payload: bytes = b"") -> None:
        """Wakes who listens to a scope. Nobody may, so it is no delivery: see `wake_ups`."""
        with unavailable():
            await self._client.publish(self.name(namespace, scope), payload)

    def open_subscriptions(self) -> tuple[Redis, PubSub, str]:
        """A connection of its own for `wake_ups`, which closes it, and a channel that stays silent.

        redis-py reads from a connection only while it is subscribed to anything. Nothing is
        repeated: a reconnection that `wake_ups` did not notice would lose what was published.
        """
        client = connect(self._url, pool_size=1, repetitions=0)
        return client, client.pubsub(), f"{self._prefix}silence"

    async def ping(self) -> bool:
        """Whether the server answers."""
        try:
            with unavailable():
                return bool(await self._client.ping())
        except Unavailable:
            return False

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()


def _bytes(value: object) -> bytes | None:
    return value if isinstance(value, bytes) else None
