"""What people see in their terminal: live progress, and the report as tables."""

import os
import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from integration.audit.report import Report
from integration.audit.vocabulary import Verdict

_STYLES = {
    Verdict.PASS: "bold green",
    Verdict.LEAK: "bold red",
    Verdict.LOSS: "bold magenta",
    Verdict.INCONCLUSIVE: "bold yellow",
}
_WITNESSES_SHOWN = 5
_REASONS_SHOWN = 10


class Terminal(Console):
    """Standard output. That nobody reads it, or that it is full, changes no verdict."""

    def on_broken_pipe(self) -> None:
        """Go on without output: `audit | head` must leave with the verdict's code."""
        self.quiet = True
        discard_output()


def discard_output() -> None:
    """Lead standard output to nowhere, so that nothing fails again when the program flushes it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


class LiveProgress:
    """Shows one bar for each phase, while an audit runs."""

    def __init__(self, console: Console) -> None:
        """Draw on a console; where it is no terminal, each phase is one line."""
        self._console = console
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bars.add_task("starting", total=None)

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the bars as they are."""
        self._end_phase()
        self._bars.stop()

    def phase(self, name: str, total: int | None = None) -> None:
        """Begin a phase of so many steps."""
        if self._console.is_terminal:
            self._end_phase()
            self._task = self._bars.add_task(name, total=total)
        else:
            self._console.print(name if total is None else f"{name}: {total}", highlight=False)

    def advance(self) -> None:
        """Count one step of the phase as done."""
        self._bars.advance(self._task)

    def _end_phase(self) -> None:
        """Fill the bar of a phase whose length nobody knew."""
        task = next(task for task in self._bars.tasks if task.id == self._task)
        if task.total is None:
            steps = max(1, int(task.completed))
            self._bars.update(self._task, total=steps, completed=steps)
        self._bars.stop_task(self._task)


def show(report: Report, console: Console) -> None:
    """Print a report: channels, anomalies, figures, witnesses, and the verdict last."""
    console.print(_channels(report))
    console.print(_anomalies(report))
    console.print(_figures(report))
    for witness in report.witnesses[:_WITNESSES_SHOWN]:
        lines = Text()
        lines.append(f"{witness.detail}\n")
        lines.append(f"wrote  {witness.writer}\nsaw    {witness.observer}\n")
        lines.append(f"on     {witness.channel}" + (f" ({witness.hop})" if witness.hop else ""))
        for part in witness.operations:
            lines.append(f"\n  #{part.operation} {part.name} {part.scope}: {part.result} ")
            lines.append(f"{part.status} ({part.role} {part.principal})")
        if witness.excerpt:
            lines.append(f"\n{witness.excerpt}", style="dim")
        title = f"{witness.anomaly} on {witness.channel}"
        console.print(Panel(lines, title=title, title_align="left", border_style="red"))
    hidden = len(report.witnesses) - _WITNESSES_SHOWN
    if hidden > 0:
        console.print(f"… and {hidden} witnesses more in the report", highlight=False)
    for reason in report.reasons[:_REASONS_SHOWN]:
        console.print(Text(f"inconclusive: {reason}", style="yellow"))
    verdict = Text(report.verdict.name, style=_STYLES[report.verdict])
    verdict.append(
        f"  {report.header.description.name}, seed {report.header.plan.seed}, "
        f"{report.duration_seconds:.1f} s",
        style="default",
    )
    console.print(verdict)
    for line in (report.header.command, report.limits):
        if line:
            console.print(Text(line, style="dim"), soft_wrap=True)


def _channels(report: Report) -> Table:
    table = Table("channel", "expects", title="Channels", title_justify="left")
    for heading in ("observations", "content", "identifiers", "leaks"):
        table.add_column(heading, justify="right")
    for channel, result in report.channels.items():
        if not result.observed:
            table.add_row(channel.value, result.expectation, "[dim]not observed", *["[dim]-"] * 3)
            continue
        leaks = f"[bold red]{result.leaks}" if result.leaks else "0"
        table.add_row(
            channel.value,
            result.expectation,
            str(result.observations),
            str(result.content_canaries),
            str(result.identifier_canaries),
            leaks,
        )
    return table


def _anomalies(report: Report) -> Table:
    table = Table("anomaly", title="Anomalies", title_justify="left")
    table.add_column("found", justify="right")
    table.add_column("checks", justify="right")
    for anomaly, result in report.anomalies.items():
        checks = "[dim]not checked" if result.checks is None else str(result.checks)
        found = f"[bold red]{result.count}" if result.count else "0"
        if result.count is None:
            found = "[dim]-"
        table.add_row(anomaly.value, found, checks)
    return table


def _figures(report: Report) -> Table:
    table = Table("figure", title="Figures", title_justify="left")
    table.add_column("value", justify="right")
    table.add_column("unit")
    for name, metric in report.metrics.items():
        table.add_row(name.replace("_", " "), f"{metric.value:,}", metric.unit)
    return table
