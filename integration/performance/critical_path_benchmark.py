"""`tools/bazel run //integration/performance:critical_path`: what the system's start waits for."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from integration.environment import Environment
from integration.performance.command import main
from integration.performance.comparison import Comparison, Sample
from tools.processes.startup import StartupRecord, startup_table


async def benchmark(rounds: int) -> Sequence[Comparison]:
    """How long each process takes from its launch to its health, in a whole start."""
    starts: list[Sequence[StartupRecord]] = []
    for _ in range(rounds + 1):
        async with Environment() as environment:
            starts.append(environment.supervisor.startup_records)
    counted = starts[1:]
    samples = {"whole start": _sample([max(r.ready_seconds for r in start) for start in counted])}
    for name in [record.name for record in counted[-1]]:
        found = [_record(start, name) for start in counted]
        critical = sum(record.critical for record in found)
        samples[f"{name} (on the path {critical} of {rounds} times)"] = _sample(
            [record.duration_seconds for record in found]
        )
    return [
        Comparison(
            name="critical-path",
            question="What does the whole system's start wait for?",
            baseline="whole start",
            samples=samples,
            notes=(
                "each process from its launch to its health; datastores first, then services",
                f"the last start, with a star at what it waited for:\n{startup_table(starts[-1])}",
            ),
        )
    ]


def _sample(seconds: Sequence[float]) -> Sample:
    return Sample(tuple(seconds))


def _record(start: Sequence[StartupRecord], name: str) -> StartupRecord:
    return next(record for record in start if record.name == name)


if __name__ == "__main__":
    sys.exit(main("critical_path", "Start-up as a critical path.", benchmark, sys.argv[1:]))
