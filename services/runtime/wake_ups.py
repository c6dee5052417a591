"""Wake-ups: one connection on which a process listens to the scopes that it holds clients of.

A wake-up carries no data that anybody needs: who is woken looks into Postgres. So one that is lost,
as when Redis restarts, costs time only. Everybody is woken once when the connection is lost, to
look more often while it is away, and once when the server has acknowledged the subscription again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from contracts.context import DataScope
from services.runtime.errors import Unavailable
from services.runtime.redis import ScopedRedis, unavailable
from services.runtime.tasks import end

_ACKNOWLEDGE_SECONDS: Final = 2.0
_SILENCE_SECONDS: Final = 5.0
_RECONNECT_SECONDS: Final = 0.2

Wake = Callable[[bytes], None]


class _Channel:
    """Who listens to one channel, and what the server has been asked and has acknowledged.

    Acknowledgements come in the order of the questions, so counting them tells which one it is.
    """

    def __init__(self) -> None:
        self.wakes: list[Wake] = []
        self.held = False
        self.returning = False
        self.asked = 0
        self.acknowledged = 0


class WakeUps:
    """Subscriptions to scopes of one namespace. Call `start` first and `stop` at the end.

    Args:
        redis: whose channels they are.
        namespace: as given to `ScopedRedis.publish`.
    """

    def __init__(self, redis: ScopedRedis, namespace: str) -> None:
        self._redis = redis
        self._namespace = namespace
        self._channels: dict[str, _Channel] = {}
        self._changed = asyncio.Condition()
        self._connection: PubSub | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection by which wake-ups come; they are few where there is none.

        One that ends without a word is noticed after 10 s.
        """
        return self._connection is not None

    async def start(self) -> None:
        """Begins to listen; it needs no server yet."""
        self._task = asyncio.create_task(self._run(), name="wake-ups")

    async def stop(self) -> None:
        """Ends all subscriptions."""
        if self._task is not None:
            await end([self._task])
            self._task = None

    @asynccontextmanager
    async def subscribed(self, scope: DataScope, wake: Wake) -> AsyncIterator[None]:
        """Calls `wake` with each payload published to the scope, from when it is entered on.

        `wake` must neither block nor raise; it gets `b""` when the connection is lost, and when
        it has come back.

        Raises:
            Unavailable: the server did not acknowledge within 2 s.
        """
        name = self._redis.name(self._namespace, scope)
        channel = self._channels.setdefault(name, _Channel())
        channel.wakes.append(wake)
        try:
            await self._acknowledged(name, channel)
            yield
        finally:
            channel.wakes.remove(wake)
            await self._leave(name, channel)

    async def _acknowledged(self, name: str, channel: _Channel) -> None:
        try:
            async with asyncio.timeout(_ACKNOWLEDGE_SECONDS), self._changed:
                await self._changed.wait_for(lambda: self._connection is not None)
                if not channel.held:
                    await self._ask(name, channel)
                await self._changed.wait_for(lambda: channel.acknowledged >= channel.asked > 0)
        except TimeoutError:
            raise Unavailable from None

    async def _ask(self, name: str, channel: _Channel) -> None:
        channel.held = True
        channel.asked += 1
        if self._connection is not None:
            with unavailable():
                await self._connection.subscribe(name)

    async def _leave(self, name: str, channel: _Channel) -> None:
        if channel.wakes or self._channels.get(name) is not channel:
            return
        if self._connection is None or not channel.held:
            del self._channels[name]
            return
        channel.held = False
        # Where this fails the connection is gone, and the subscription with it.
        with suppress(RedisError, OSError):
            await self._connection.unsubscribe(name)

    async def _run(self) -> None:
        while True:
            client, connection, silence = self._redis.open_subscriptions()
            try:
                await connection.subscribe(silence)
                await self._resubscribe(connection)
                await self._listen(connection)
            except (RedisError, OSError):
                await asyncio.sleep(_RECONNECT_SECONDS)
            finally:
                lost, self._connection = self._connection, None
                if lost is not None:
                    for channel in list(self._channels.values()):
                        _wake(channel, b"")
                with suppress(RedisError, OSError):
                    await connection.aclose()  # type: ignore[no-untyped-call]
                await client.aclose()

    async def _resubscribe(self, connection: PubSub) -> None:
        async with self._changed:
            self._channels = {n: c for n, c in self._channels.items() if c.wakes}
            self._connection = connection
            for name, channel in self._channels.items():
                channel.asked = channel.acknowledged = 0
                channel.returning = True
                await self._ask(name, channel)
            self._changed.notify_all()

    async def _listen(self, connection: PubSub) -> None:
        silent = False
        while True:
            message = await connection.get_message(timeout=_SILENCE_SECONDS)
            if message is not None:
                silent = False
                await self._take(message)
            elif silent:
                raise OSError("the server answered neither a message nor a ping")
            else:
                silent = True
                await connection.ping()

    async def _take(self, message: dict[str, object]) -> None:
        name = message["channel"]
        if not isinstance(name, bytes) or (channel := self._channels.get(name.decode())) is None:
            return
        payload = message["data"]
        if message["type"] == "subscribe":
            async with self._changed:
                channel.acknowledged += 1
                self._changed.notify_all()
            if channel.returning:
                # Not before: what is published until now reaches nobody.
                channel.returning = False
                _wake(channel, b"")
        elif message["type"] == "unsubscribe":
            if not channel.wakes and not channel.held:
                del self._channels[str(name.decode())]
        elif message["type"] == "message" and isinstance(payload, bytes):
            _wake(channel, payload)


def _wake(channel: _Channel, payload: bytes) -> None:
    for wake in list(channel.wakes):
        wake(payload)
