import asyncio
from collections.abc import AsyncIterator

import pytest

from integration.systems.watertight.merging import for_each, merged


async def _numbers(*numbers: int) -> AsyncIterator[int]:
    for number in numbers:
        await asyncio.sleep(0)
        yield number


async def _failing() -> AsyncIterator[int]:
    await asyncio.sleep(0)
    raise ConnectionError("gone")
    yield 0


async def test_merged_sources_give_everything() -> None:
    """What any of the sources brings is given."""
    async with merged(_numbers(1, 2), _numbers(3)) as seen:
        found = [await anext(seen) for _ in range(3)]

    assert [1, 2, 3] == sorted(found)


async def test_failing_source_is_not_silent() -> None:
    """An observer that fails is noticed where observations are read."""
    async with merged(_failing()) as seen:
        with pytest.raises(ConnectionError):
            await anext(seen)


async def test_everything_is_acted_on_some_at_a_time() -> None:
    """Each thing is acted on once, and no more at a time than allowed."""
    running = 0
    most = 0
    done: list[int] = []

    async def act(number: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        done.append(number)

    await for_each(range(7), act, at_once=3)

    assert list(range(7)) == sorted(done)
    assert 3 == most
