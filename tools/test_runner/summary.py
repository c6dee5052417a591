"""The end of a run: what each target gave, and what its tests recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tools.build.tally import GOOD, Count, Target, read_events, targets
from tools.test_runner.metrics import MetricsUnreadable, Recorded, recorded_in


@dataclass(frozen=True, slots=True)
class Row:
    """What one target gave."""

    label: str
    status: str
    count: Count
    seconds: float
    cached: bool

    @property
    def good(self) -> bool:
        """Whether Bazel says that it passed."""
        return self.status in GOOD


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run gave."""

    rows: tuple[Row, ...]
    metrics: tuple[Recorded, ...]
    complaints: tuple[str, ...]
    """Metrics that could not be read."""

    @property
    def total(self) -> Count:
        """All targets' cases together."""
        return sum((row.count for row in self.rows), Count())


def summarised(events: Path) -> Summary:
    """What the build events of a run say; nothing, where Bazel ended before it wrote them."""
    found = targets(read_events(events)) if events.exists() else {}
    complaints: list[str] = []
    return Summary(
        tuple(_row(label, target) for label, target in sorted(found.items())),
        tuple(_metrics(found, complaints)),
        tuple(complaints),
    )


def _row(label: str, target: Target) -> Row:
    return Row(label, target.status, target.count(), target.seconds, target.cached)


def _metrics(found: Mapping[str, Target], complaints: list[str]) -> Sequence[Recorded]:
    metrics: list[Recorded] = []
    for label, target in sorted(found.items()):
        for outputs in target.outputs:
            try:
                metrics += recorded_in(outputs)
            except MetricsUnreadable as error:
                complaints.append(f"{label}: {error}")
    return metrics


def show(summary: Summary, console: Console) -> None:
    """Prints the tables, and the count last."""
    if summary.rows:
        console.print(_results(summary))
    if summary.metrics:
        console.print(_measurements(summary.metrics))
    for complaint in summary.complaints:
        console.print(Text(complaint, style="red"), soft_wrap=True)
    total = summary.total
    console.print(
        f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped,"
        f" {total.deselected} deselected"
    )


def _results(summary: Summary) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_footer=True)
    total = summary.total
    table.add_column("target", "together", overflow="fold")
    for name in ("passed", "failed", "skipped", "deselected"):
        table.add_column(name, str(getattr(total, name)), justify="right", no_wrap=True)
    seconds = sum(row.seconds for row in summary.rows if not row.cached)
    table.add_column("seconds", f"{seconds:.1f}", justify="right", no_wrap=True)
    for row in summary.rows:
        count = row.count
        label = Text(row.label, style="" if row.good else "red")
        if not row.good:
            label.append(f" {row.status}", style="bold red")
        cells = (count.passed, count.failed, count.skipped, count.deselected)
        elapsed = "cached" if row.cached else f"{row.seconds:.1f}"
        table.add_row(label, *map(_number, cells), elapsed)
    return table


def _number(value: int) -> str:
    return str(value) if value else "-"


def _measurements(metrics: Sequence[Recorded]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("test", overflow="fold")
    table.add_column("metric", overflow="fold")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    for metric in metrics:
        # Text, since a node identifier's brackets are no mark-up.
        table.add_row(
            Text(metric.test), Text(metric.name), f"{metric.value:.6g}", Text(metric.unit)
        )
    return table
