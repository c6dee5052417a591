"""Writes a report into its folder: `report.html` for people, `report.json` for programs."""

import json
from pathlib import Path

import jinja2

from integration.audit.plots import (
    latencies_by_operation,
    observations_by_channel,
    outcomes_over_time,
)
from integration.audit.report import Report

HTML_NAME = "report.html"
JSON_NAME = "report.json"

_SOURCES_SHOWN = 4
"""How many of a channel's sources the page names; the JSON has them all."""

_TEMPLATES = Path(__file__).parent / "templates"


def write_report(report: Report, directory: Path) -> None:
    """Write both forms beside the history."""
    write_json(report, directory / JSON_NAME)
    write_html(report, directory / HTML_NAME)


def write_html(report: Report, path: Path) -> None:
    """Write the page for people."""
    path.write_text(html(report), encoding="utf-8")


def write_json(report: Report, path: Path) -> None:
    """Write the form for programs into a file of the caller's choice."""
    path.write_text(json.dumps(report.to_json(), indent=2) + "\n", encoding="utf-8")


def html(report: Report) -> str:
    """Give the page: one file that needs no other, light and dark, and no script."""
    counts = {each.value: result.observations or 0 for each, result in report.channels.items()}
    plots = [
        outcomes_over_time(report.timeline),
        observations_by_channel(counts),
        latencies_by_operation(report.operations),
    ]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.jinja").render(
        report=report, plots=[plot for plot in plots if plot], sources_shown=_SOURCES_SHOWN
    )
