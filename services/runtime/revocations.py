"""The sessions that have ended, as auth tells them: known within a bound, or nobody is served.

A session that ended is refused at the latest 2 s after its log-out was acknowledged. The feed asks
auth twice a second; a log-out that was acknowledged before a question began is in its answer. When
the last answered question began more than 2 s ago, `require_live` refuses everybody with
`Unavailable`: an old answer might miss a log-out.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final

from contracts.context import SessionId
from services.runtime.errors import ServiceError, Unauthenticated, Unavailable
from services.runtime.logging import error_fields, service_logger
from watertight.auth.v1.auth_pb2 import ListRevocationsResponse

INTERVAL_SECONDS: Final = 0.5
STALE_SECONDS: Final = 2.0
# Until the first answer nobody is served: services start side by side, and auth may come last.
_FIRST_INTERVAL_SECONDS: Final = 0.05

ListRevocations = Callable[[int], Awaitable[ListRevocationsResponse]]
OnEnd = Callable[[SessionId], None]


class RevocationFeed:
    """Follows auth's revocations while it is started.

    Args:
        list_revocations: asks auth for what came after a sequence number; bounded in time.
        clock: monotonic seconds.
        wall_clock: seconds since 1970.
    """

    def __init__(
        self,
        list_revocations: ListRevocations,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._list = list_revocations
        self._clock = clock
        self._wall_clock = wall_clock
        self._ended: dict[str, float] = {}
        self._after = 0
        self._asked_at = float("-inf")
        self._callbacks: dict[object, OnEnd] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to ask; returns at once."""
        self._task = asyncio.create_task(self._poll(), name="revocation feed")

    async def stop(self) -> None:
        """Asks no more; from 2 s later everybody is refused."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    @property
    def heard(self) -> bool:
        """Whether auth has answered since the start: before that everybody is refused."""
        return self._asked_at > float("-inf")

    @property
    def fresh(self) -> bool:
        """Whether what is known is young enough to serve by."""
        return self._clock() - self._asked_at <= STALE_SECONDS

    def require_live(self, session_id: SessionId) -> None:
        """Refuses a session that has ended, and every session while the feed is stale.

        Raises:
            Unauthenticated: it has ended.
            Unavailable: auth has not answered for 2 s.
        """
        if session_id in self._ended:
            raise Unauthenticated
        if not self.fresh:
            raise Unavailable

    def subscribe(self, callback: OnEnd) -> Callable[[], None]:
        """Calls back with each session that ends from now on; the result ends the subscription."""
        token = object()
        self._callbacks[token] = callback
        return lambda: self._callbacks.pop(token, None) and None

    async def _poll(self) -> None:
        while True:
            try:
                await self.refresh()
            except ServiceError as error:
                service_logger().warning("revocations not answered", code=error.code.name)
            except Exception as error:  # noqa: BLE001 -- the feed goes stale; it must not end
                service_logger().error("revocations failed", **error_fields(error))
            await asyncio.sleep(INTERVAL_SECONDS if self.heard else _FIRST_INTERVAL_SECONDS)

    async def refresh(self) -> None:
        """Asks once, to the end of what there is.

        Raises:
            ServiceError: auth does not answer.
        """
        more = True
        while more:
            asked_at = self._clock()
            answer = await self._list(self._after)
            if answer.more and answer.head_sequence == self._after:
                raise Unavailable
            if answer.head_sequence < self._after:
                # Auth has another store, or an older one: read what it knows from the start.
                self._after = 0
                continue
            for revocation in answer.revocations:
                self._end(SessionId(revocation.session_id), revocation.expires_at.seconds + 1)
            self._after = answer.head_sequence
            more = answer.more
            if not more:
                self._asked_at = asked_at
        self._forget_expired()

    def _end(self, session_id: SessionId, until: float) -> None:
        known = session_id in self._ended
        self._ended[session_id] = until
        if not known:
            for callback in list(self._callbacks.values()):
                callback(session_id)

    def _forget_expired(self) -> None:
        # After its end no token of the session is valid, so there is nothing left to refuse.
        now = self._wall_clock()
        for session_id in [s for s, until in self._ended.items() if until < now]:
            del self._ended[session_id]
