from __future__ import annotations

import asyncio

import pytest

from integration.performance.comparison import Comparison, Sample, in_turns


def compared(**seconds: tuple[float, ...]) -> Comparison:
    """Ways with what they took, against `old`."""
    samples = {name: Sample(values) for name, values in seconds.items()}
    return Comparison(name="c", question="?", baseline="old", samples=samples)


def test_ratio_is_of_medians() -> None:
    """One slow round of either way changes nothing."""
    comparison = compared(old=(2.0, 2.0, 2.0, 2.0, 90.0), new=(1.0, 50.0, 1.0, 1.0, 1.0))

    assert 0.5 == comparison.ratio("new")
    assert 1.0 == comparison.ratio("old")


@pytest.mark.parametrize(
    "seconds",
    [
        {"new": (1.0,) * 5},
        {"old": (1.0,) * 4},
        {"old": (1.0,) * 5, "new": (1.0,) * 6},
    ],
)
def test_what_cannot_be_compared_is_refused(seconds: dict[str, tuple[float, ...]]) -> None:
    """No baseline, too few rounds, or not the same number of them."""
    with pytest.raises(ValueError, match="expected"):
        compared(**seconds)


async def test_ways_take_turns() -> None:
    """Each way is measured once a round, first as often as last; the warm-up does not count."""
    order: list[str] = []

    async def way(name: str) -> float:
        await asyncio.sleep(0)
        order.append(name)
        return float(len(order))

    samples = await in_turns({"a": lambda: way("a"), "b": lambda: way("b")}, 6)

    assert "ba" + "abba" * 3 == "".join(order)
    assert (3.0, 6.0, 7.0, 10.0, 11.0, 14.0) == samples["a"].seconds
    assert {1.0, 2.0}.isdisjoint(samples["b"].seconds)
