import itertools

import pytest

from tools.processes.waiting import until, wait_until


async def test_waiting_ends_with_the_condition() -> None:
    """A condition is asked again until it holds, and not after."""
    asked = itertools.count(1)
    await until(lambda: next(asked) == 3)
    wait_until(lambda: next(asked) == 6)

    assert 7 == next(asked)


async def test_waiting_has_a_limit() -> None:
    """A condition that never holds is an error, with and without a loop."""
    with pytest.raises(TimeoutError):
        await until(lambda: False, 0.05)
    with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
        wait_until(lambda: False, 0.05)
