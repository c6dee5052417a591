"""Several streams of observations as one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

_T = TypeVar("_T")


@contextlib.asynccontextmanager
async def merged(*sources: AsyncIterator[_T]) -> AsyncIterator[AsyncIterator[_T]]:
    """What the sources give, in order of arrival, until the block ends.

    An error of a source is raised where the merged ones are read.
    """
    arrived: asyncio.Queue[_T | BaseException] = asyncio.Queue()

    async def read(source: AsyncIterator[_T]) -> None:
        try:
            async for each in source:
                arrived.put_nowait(each)
        except Exception as error:  # noqa: BLE001 -- handed over to whoever reads
            arrived.put_nowait(error)

    async def give() -> AsyncIterator[_T]:
        while True:
            each = await arrived.get()
            if isinstance(each, BaseException):
                raise each
            yield each

    readers = [asyncio.create_task(read(source)) for source in sources]
    try:
        yield give()
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


async def for_each(
    things: Iterable[_T], act: Callable[[_T], Awaitable[None]], *, at_once: int
) -> None:
    """Acts on every one of several things, on some of them at a time; the first error ends it."""
    left = iter(list(things))

    async def work() -> None:
        for thing in left:
            await act(thing)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())
