"""How long starting took, and what it waited for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class StartupRecord:
    """One process's start: seconds from the first start to its launch, and to its health."""

    name: str
    begin_seconds: float
    ready_seconds: float
    critical: bool = False

    @property
    def duration_seconds(self) -> float:
        """From launch to health."""
        return self.ready_seconds - self.begin_seconds


def with_critical_path(
    records: Mapping[str, StartupRecord], depends_on: Mapping[str, Sequence[str]]
) -> list[StartupRecord]:
    """The records by time of health, those marked that the whole start waited for.

    The path ends at the process that was healthy last; each step goes to that of its dependencies
    which was healthy last.
    """
    path: set[str] = set()
    candidates = list(records)
    while candidates:
        last = max(candidates, key=lambda name: records[name].ready_seconds)
        path.add(last)
        candidates = [name for name in depends_on.get(last, ()) if name in records]
    marked = (
        StartupRecord(each.name, each.begin_seconds, each.ready_seconds, each.name in path)
        for each in records.values()
    )
    return sorted(marked, key=lambda record: record.ready_seconds)


def startup_table(records: Sequence[StartupRecord]) -> str:
    """The records as text, in milliseconds; a star marks the critical path."""
    width = max([len("process"), *(len(record.name) for record in records)])
    head = f"  {'process':<{width}}  {'began':>8}  {'took':>8}  {'healthy':>8}"
    rows = (
        f"{'*' if record.critical else ' '} {record.name:<{width}}"
        f"  {_milliseconds(record.begin_seconds)}"
        f"  {_milliseconds(record.duration_seconds)}"
        f"  {_milliseconds(record.ready_seconds)}"
        for record in records
    )
    return "\n".join([head, *rows])


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:>5.0f} ms"
