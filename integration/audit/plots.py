"""The plots of a report: SVG that stands in the page itself, without scripts and in its colours.

Every number of a plot also stands in one of the page's tables, for who cannot see it.
"""

import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from xml.etree import ElementTree as ET

import pygal
from markupsafe import Markup
from pygal.style import Style

from integration.audit.activity import LATENCY_BOUNDS, OperationFigures, Timeline
from integration.audit.adapter import Result

# pygal finds its plugins, of which we use none, by a hook of a kind that Python is giving up; with
# it every module that is not there at all costs a warning.
sys.meta_path[:] = [each for each in sys.meta_path if type(each).__module__ != "pygal"]

_SVG: Final = "{http://www.w3.org/2000/svg}"
_WIDTH: Final = 520
_WIDE: Final = 680
_ROW_HEIGHT: Final = 24
_LABELS: Final = 6

_OUTCOMES: Final = {
    Result.OK: ("acknowledged", "var(--good)"),
    Result.FAILED: ("refused", "var(--calm)"),
    Result.UNKNOWN: ("unknown", "var(--open)"),
}


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot with what it is called, and what it shows in words."""

    title: str
    description: str
    svg: Markup
    wide: bool = False


def outcomes_over_time(timeline: Timeline) -> Plot | None:
    """Plot operations by the time of their end; `None` where there were none."""
    total = sum(map(sum, timeline.results.values()))
    if not total:
        return None
    shown = [result for result in Result if sum(timeline.results[result.value])]
    chart = _chart(pygal.StackedBar, [_OUTCOMES[result][1] for result in shown], height=300)
    bins = len(next(iter(timeline.results.values())))
    times = [f"{number * timeline.bin_seconds:.3g} s" for number in range(bins)]
    chart.x_labels = times
    chart.x_labels_major = times[:: max(1, -(-bins // _LABELS))]
    chart.show_minor_x_labels = False
    for result in shown:
        chart.add(_OUTCOMES[result][0], list(timeline.results[result.value]))
    highest = max(map(sum, zip(*timeline.results.values(), strict=True)))
    counts = ", ".join(f"{sum(timeline.results[r.value]):,} {_OUTCOMES[r][0]}" for r in shown)
    return _plot(
        chart,
        "Operations over time, by outcome",
        f"{counts}; bars of {timeline.bin_seconds:.3g} s, the highest of {highest:,} operations.",
    )


def observations_by_channel(counts: Mapping[str, int]) -> Plot | None:
    """Plot how much each channel has shown; `None` where none did."""
    if not any(counts.values()):
        return None
    chart = _chart(pygal.HorizontalBar, ["var(--accent)"], height=_ROW_HEIGHT * len(counts) + 60)
    chart.show_legend = False
    # The number stands beside the name: on a short bar there would be no room for it.
    chart.x_labels = [f"{name}  {count:,}" for name, count in reversed(list(counts.items()))]
    chart.show_x_labels = False
    chart.add("observations", list(counts.values())[::-1])
    most = max(counts, key=lambda name: counts[name])
    return _plot(
        chart,
        "Observations by channel",
        f"{sum(counts.values()):,} in all, the most on {most}: {counts[most]:,}.",
    )


def latencies_by_operation(operations: Sequence[OperationFigures]) -> Plot | None:
    """Plot the distribution of latencies for each operation: the larger a dot, the more of it."""
    timed = [each for each in operations if sum(each.distribution)]
    if not timed:
        return None
    used = [number for each in timed for number, count in enumerate(each.distribution) if count]
    first, last = min(used), max(used)
    labels = [f"≤ {bound}" for bound in LATENCY_BOUNDS] + [f"> {LATENCY_BOUNDS[-1]}"]
    colours = ["var(--accent)"] * len(timed)
    chart = _chart(pygal.Dot, colours, height=_ROW_HEIGHT * len(timed) + 70, width=_WIDE)
    chart.show_legend = False
    chart.x_labels = labels[first : last + 1]
    chart.x_title = "milliseconds"
    for each in timed:
        whole = sum(each.distribution)
        # The area, not the radius, is the share.
        shares = [(count / whole) ** 0.5 for count in each.distribution[first : last + 1]]
        chart.add(each.name, shares)
    slowest = max(timed, key=lambda each: each.median_milliseconds or 0.0)
    return _plot(
        chart,
        "Latency distribution by operation",
        "A dot's area is the share of the operation's calls that took so long. The slowest by"
        f" its median is {slowest.name}: {slowest.median_milliseconds:,} ms.",
        wide=True,
    )


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _chart(kind: Any, colours: Sequence[str], *, height: int, width: int = _WIDTH) -> Any:
    style = Style(
        background="transparent",
        plot_background="transparent",
        foreground="var(--soft)",
        foreground_strong="var(--ink)",
        foreground_subtle="var(--soft)",
        guide_stroke_color="var(--line)",
        major_guide_stroke_color="var(--line)",
        font_family="system-ui, sans-serif",
        label_font_size=13,
        major_label_font_size=13,
        legend_font_size=14,
        value_font_size=13,
        title_font_size=14,
        opacity="1",
        colors=tuple(colours),
        value_colors=("var(--ink)",) * len(colours),
    )
    return kind(
        style=style,
        js=[],
        width=width,
        height=height,
        margin=4,
        show_y_guides=True,
        legend_at_bottom=True,
        legend_box_size=12,
        truncate_label=-1,
        truncate_legend=-1,
        disable_xml_declaration=True,
        value_formatter=_whole,
    )


def _plot(chart: Any, title: str, description: str, *, wide: bool = False) -> Plot:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        root = chart.render_tree()
    _strip(root)
    root.attrib.pop("xmlns", None)
    root.set("role", "img")
    root.set("aria-label", f"{title}: {description}")
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    # The tree holds text of the system's; serialising it escapes that.
    text = ET.tostring(root, encoding="unicode", method="xml")
    return Plot(title, description, Markup(text), wide)  # noqa: S704 - serialised, see above


def _strip(node: ET.Element) -> None:
    """Remove what only pygal's script would use, and the comments with addresses."""
    for child in list(node):
        name = child.tag if isinstance(child.tag, str) else "comment"
        if name.removeprefix(_SVG) in {"comment", "script", "desc", "title"}:
            node.remove(child)
        else:
            _strip(child)
