"""Waiting for what another task or process does and tells nobody, for tests."""

import asyncio
import time
from collections.abc import Callable

LIMIT_SECONDS = 15.0
_PAUSE_SECONDS = 0.01


async def until(condition: Callable[[], object], limit_seconds: float = LIMIT_SECONDS) -> None:
    """Waits until a condition holds; raises `TimeoutError` when it takes too long.

    The loop's other tasks go on, except while the condition itself is asked.
    """
    async with asyncio.timeout(limit_seconds):
        while not condition():  # noqa: ASYNC110 -- the subject raises no event of its own
            await asyncio.sleep(_PAUSE_SECONDS)


def wait_until(condition: Callable[[], object], limit_seconds: float = LIMIT_SECONDS) -> None:
    """The same where no event loop runs."""
    limit = time.monotonic() + limit_seconds
    while not condition():
        if time.monotonic() > limit:
            message = f"a condition did not come to hold within {limit_seconds:g} s"
            raise TimeoutError(message)
        time.sleep(_PAUSE_SECONDS)
