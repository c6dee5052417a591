"""What happened when, how long it took and where it was seen: the figures behind a report's plots.

It is fed record by record, beside the oracles. It grows with operations by a few bytes each, never
with observations; what it gives is binned, so that a page does not grow with its history.
"""

from array import array
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from integration.audit.adapter import Result
from integration.audit.records import Completed, Invoked, Observed, Record
from integration.audit.system import OperationPlan
from integration.audit.vocabulary import Channel

LATENCY_BOUNDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""Upper bounds of the bins of a latency distribution, in milliseconds; one more bin is above."""

_BINS = 40
_SOURCES_LIMIT = 40


@dataclass(frozen=True, slots=True)
class OperationFigures:
    """What became of one kind of operation. Latencies in milliseconds, `None` without any."""

    name: str
    channel: str
    count: int
    acknowledged: int
    refused: int
    unknown: int
    per_second: float
    median_milliseconds: float | None
    p95_milliseconds: float | None
    maximum_milliseconds: float | None
    distribution: tuple[int, ...]
    """Operations by latency, in the bins of `LATENCY_BOUNDS`."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Operations by the time of their end, in bins of equal length, by outcome."""

    bin_seconds: float
    results: Mapping[str, tuple[int, ...]]


class Activity:
    """Takes a history in, and gives figures."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self._open: dict[int, tuple[str, int]] = {}
        self._latencies: dict[str, array[int]] = defaultdict(lambda: array("q"))
        self._results: dict[str, Counter[Result]] = defaultdict(Counter)
        self._ends: dict[Result, array[int]] = {result: array("q") for result in Result}
        self._sources: dict[Channel, Counter[str]] = {channel: Counter() for channel in Channel}

    def feed(self, record: Record) -> None:
        """Take one record."""
        if isinstance(record, Observed):
            observation = record.observation
            standing = "standing connection" if record.subscription is not None else "elsewhere"
            self._seen(observation.channel, observation.source or standing)
        elif isinstance(record, Invoked):
            self._open[record.number] = (record.name, record.time)
        elif isinstance(record, Completed):
            name, began = self._open.pop(record.number, ("", record.time))
            self._latencies[name].append(record.time - began)
            self._results[name][record.result] += 1
            self._ends[record.result].append(record.time)
            for observation in record.observations:
                self._seen(observation.channel, observation.source or f"answer of {name}")

    def _seen(self, channel: Channel, source: str) -> None:
        sources = self._sources[channel]
        # An adapter may name a source for each key: the rest is counted together.
        sources[source if source in sources or len(sources) < _SOURCES_LIMIT else "others"] += 1

    def sources(self, channel: Channel) -> dict[str, int]:
        """Give where on a channel was looked, and how often, the most seen first."""
        return dict(self._sources[channel].most_common())

    def operations(
        self, plans: Sequence[OperationPlan], seconds: float
    ) -> tuple[OperationFigures, ...]:
        """Give the figures of each kind of operation that was declared."""
        pending = Counter(name for name, _ in self._open.values())
        return tuple(
            self._figures(plan, pending[plan.name], max(seconds, 1e-9))
            for plan in plans
            if plan.name in self._results or pending[plan.name]
        )

    def _figures(self, plan: OperationPlan, pending: int, seconds: float) -> OperationFigures:
        results = self._results.get(plan.name, Counter())
        latencies = sorted(self._latencies.get(plan.name, ()))
        bins = Counter(bisect_left(LATENCY_BOUNDS, latency / 1e6) for latency in latencies)
        return OperationFigures(
            name=plan.name,
            channel=plan.channel.value,
            count=len(latencies) + pending,
            acknowledged=results[Result.OK],
            refused=results[Result.FAILED],
            unknown=results[Result.UNKNOWN] + pending,
            per_second=round((len(latencies) + pending) / seconds, 2),
            median_milliseconds=_milliseconds(latencies, 0.5),
            p95_milliseconds=_milliseconds(latencies, 0.95),
            maximum_milliseconds=_milliseconds(latencies, 1.0),
            distribution=tuple(bins[number] for number in range(len(LATENCY_BOUNDS) + 1)),
        )

    def timeline(self) -> Timeline:
        """Give how many operations ended when, and how."""
        last = max((max(ends) for ends in self._ends.values() if ends), default=0)
        width = max(1, -(-(last + 1) // _BINS))
        bins = {}
        for result, ends in self._ends.items():
            counted = Counter(end // width for end in ends)
            bins[result.value] = tuple(counted[number] for number in range(last // width + 1))
        return Timeline(round(width / 1e9, 6), bins)


def _milliseconds(latencies: Sequence[int], share: float) -> float | None:
    """Give the latency that so great a share of them does not exceed (nearest rank)."""
    if not latencies:
        return None
    return round(latencies[ceil(share * len(latencies)) - 1] / 1e6, 3)
