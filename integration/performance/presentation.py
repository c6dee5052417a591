"""Shows a comparison: a table, its figures as JSON, a plot, the machine."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import pygal
from pygal.style import CleanStyle
from rich.console import Console
from rich.table import Table

from integration.performance.comparison import Comparison

_MILLISECONDS: Final = 1000

# pygal adds a finder for maps' plugins that speaks a protocol which Python has left, and warns of.
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]


def show(comparison: Comparison, machine: Mapping[str, str], console: Console) -> None:
    """Prints medians and ratios, and what they were measured on."""
    table = Table(title=comparison.question, title_justify="left", show_edge=False)
    table.add_column("way")
    for heading in ("median", "least", "most", f"times {comparison.baseline}"):
        table.add_column(heading, justify="right")
    for name, sample in comparison.samples.items():
        figures = (sample.median, min(sample.seconds), max(sample.seconds))
        table.add_row(
            name,
            *(f"{seconds * _MILLISECONDS:.2f} ms" for seconds in figures),
            f"{comparison.ratio(name):.2f}",
        )
    console.print(table)
    rounds = len(comparison.samples[comparison.baseline].seconds)
    console.print(f"{rounds} rounds in turns, after one that does not count")
    for note in comparison.notes:
        console.print(f"- {note}")
    console.print("; ".join(f"{name}: {value}" for name, value in machine.items()))


def write(comparison: Comparison, machine: Mapping[str, str], folder: Path) -> tuple[Path, Path]:
    """Writes `<name>.json` and `<name>.svg` into a folder, and gives both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = folder / f"{comparison.name}.json"
    plot = folder / f"{comparison.name}.svg"
    document = {
        **asdict(comparison),
        "ratios": {name: comparison.ratio(name) for name in comparison.samples},
        "machine": dict(machine),
    }
    figures.write_text(json.dumps(document, indent=1) + "\n")
    plot.write_bytes(_plot(comparison))
    return figures, plot


def _plot(comparison: Comparison) -> bytes:
    chart: Any = pygal.Box(
        title=comparison.question,
        y_title="milliseconds",
        style=CleanStyle,
        js=[],
        box_mode="extremes",
        min_scale=4,
        include_x_axis=True,
    )
    for name, sample in comparison.samples.items():
        chart.add(name, [round(seconds * _MILLISECONDS, 3) for seconds in sample.seconds])
    root: ET.Element = chart.render_tree()
    # A plot in a file has nobody to talk to.
    for parent in list(root.iter()):
        for child in [each for each in parent if str(each.tag).endswith("script")]:
            parent.remove(child)
    plot: bytes = ET.tostring(root, encoding="utf-8")
    return plot
