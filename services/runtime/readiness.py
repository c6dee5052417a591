"""Whether what a service needs answers, asked no more often than is useful."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from typing import Final

REMEMBERED_SECONDS: Final = 0.5

Readiness = Callable[[], Awaitable[Mapping[str, bool]]]


class RememberedReadiness:
    """Answers all who ask within half a second by one look.

    Anybody may ask, and a look needs a connection of the pool that the users' requests share.
    """

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness
        self._look: asyncio.Task[Mapping[str, bool]] | None = None
        self._looked_at = 0.0

    async def __call__(self) -> Mapping[str, bool]:
        """What answers, as of half a second ago at most."""
        now = asyncio.get_running_loop().time()
        if self._look is None or now - self._looked_at >= REMEMBERED_SECONDS:
            if self._look is None or self._look.done():
                self._look = asyncio.create_task(self._ask(), name="readiness", context=Context())
            self._looked_at = now
        # Who asked may go away; the others still wait for the answer.
        return await asyncio.shield(self._look)

    async def _ask(self) -> Mapping[str, bool]:
        return await self._readiness()
