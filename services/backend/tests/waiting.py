"""Waiting for what another task or process does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LIMIT_SECONDS = 15.0


async def until(condition: Callable[[], object], limit_seconds: float = LIMIT_SECONDS) -> None:
    """Waits until a condition holds; raises `TimeoutError` when it takes too long."""
    async with asyncio.timeout(limit_seconds):
        while not condition():  # noqa: ASYNC110 -- the subject raises no event of its own
            await asyncio.sleep(0.01)
