"""The end of background tasks."""

from __future__ import annotations

import asyncio

from services.runtime.tasks import end


async def test_a_task_that_swallows_a_cancellation_ends_all_the_same() -> None:
    """It is cancelled again until it has ended."""
    swallowed = 0
    begun = asyncio.Event()

    async def stubborn() -> None:
        nonlocal swallowed
        while swallowed < 3:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
        await asyncio.Event().wait()

    task = asyncio.create_task(stubborn())
    await begun.wait()
    async with asyncio.timeout(5):
        await end([task])

    assert (3, True) == (swallowed, task.cancelled())


async def test_a_task_that_fails_does_not_fail_the_end() -> None:
    """What a task ends with is nobody's concern any more; no task at all is no error."""

    async def failing() -> None:
        raise ValueError("broken")

    task = asyncio.create_task(failing())
    await asyncio.wait([task])
    await end([task])
    await end([])

    assert task.done()
