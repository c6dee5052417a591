"""Measures several ways to do one thing in the same run, in turns, against a baseline among them.

A machine's speed changes from minute to minute: only ratios of what was measured in turns compare.
"""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

MINIMUM_ROUNDS: Final = 5

Measured = Callable[[], Awaitable[float]]
"""Does the thing once, and gives what it took, in seconds."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one way took in each round, in seconds."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one, in seconds."""
        return statistics.median(self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Several ways to do one thing.

    Args:
        name: what is compared, as a file could be called.
        question: what it answers.
        baseline: the way that all are compared with.
        samples: by the way's name, of equally many rounds.
        notes: what a reader has to know of how it was measured.
    """

    name: str
    question: str
    baseline: str
    samples: Mapping[str, Sample]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.baseline not in self.samples:
            raise ValueError(f"expected a baseline among {list(self.samples)}, got {self.baseline}")
        rounds = {len(sample.seconds) for sample in self.samples.values()}
        if len(rounds) != 1 or min(rounds) < MINIMUM_ROUNDS:
            raise ValueError(
                f"expected equally many rounds, at least {MINIMUM_ROUNDS}; got {rounds}"
            )

    def ratio(self, way: str) -> float:
        """How many times as long as the baseline a way took, by their medians."""
        return self.samples[way].median / self.samples[self.baseline].median


async def in_turns(ways: Mapping[str, Measured], rounds: int) -> dict[str, Sample]:
    """Measures each way once in every round, after one round that does not count.

    The order turns around from round to round, so that no way always comes after the same one.
    """
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        order = list(ways) if number % 2 else list(ways)[::-1]
        for name in order:
            seconds = await ways[name]()
            if number:
                found[name].append(seconds)
    return {name: Sample(tuple(seconds)) for name, seconds in found.items()}
