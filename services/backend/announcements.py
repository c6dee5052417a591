"""Wake-ups: that a thread has new events is told to every process, as a hint that may be lost.

The payload is the thread's head and nothing else; what the events say rests in Postgres. Nobody
waits for a wake-up to be sent. While Redis does not answer it is tried again, for whoever listens
looks seldom by himself as long as his own connection lasts.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Final

from contracts.context import DataScope
from services.runtime.errors import ServiceError
from services.runtime.logging import error_fields, service_logger
from services.runtime.redis import ScopedRedis
from services.runtime.tasks import end

NAMESPACE: Final = "thread"
_MAXIMUM_WAITING: Final = 10_000
_RETRY_SECONDS: Final = 0.5


def encode_head(head_sequence: int) -> bytes:
    """The payload of a wake-up."""
    return str(head_sequence).encode()


def decode_head(payload: bytes) -> int | None:
    """The head in a wake-up; `None` where it holds none, so one has to look."""
    return int(payload) if payload.isdigit() and len(payload) < 20 else None  # noqa: PLR2004 -- digits of 2^63


class Announcements:
    """Publishes wake-ups, one after the other; of one thread's only the newest waits."""

    def __init__(self, redis: ScopedRedis) -> None:
        self._redis = redis
        self._waiting: dict[DataScope, int] = {}
        self._some = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to publish; returns at once."""
        self._task = asyncio.create_task(self._publish(), name="announcements", context=Context())

    async def stop(self) -> None:
        """Publishes no more."""
        if self._task is not None:
            await end([self._task])
            self._task = None

    def announce(self, scope: DataScope, head_sequence: int) -> None:
        """Has it told that the thread's newest event is this one; returns at once."""
        if scope in self._waiting or len(self._waiting) < _MAXIMUM_WAITING:
            self._waiting[scope] = max(head_sequence, self._waiting.get(scope, 0))
            self._some.set()

    async def _publish(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            while self._waiting:
                scope, head_sequence = self._waiting.popitem()
                await self._publish_one(scope, head_sequence)

    async def _publish_one(self, scope: DataScope, head_sequence: int) -> None:
        try:
            await self._redis.publish(NAMESPACE, scope, encode_head(head_sequence))
        except ServiceError as error:
            service_logger().warning("wake-up not sent", code=error.code.name)
            self.announce(scope, head_sequence)
            await asyncio.sleep(_RETRY_SECONDS)
        except Exception as error:  # noqa: BLE001 -- a hint that is lost ends nothing
            service_logger().error("wake-up failed", **error_fields(error))
