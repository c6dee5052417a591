"""What tests recorded: `metrics.json` in the outputs that a target left.

The file is one JSON object: a list for each test, by pytest's node identifier, of objects with
`name`, `value` and `unit`. integration/fixtures/metrics.py writes it.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

METRICS_FILE: Final = "metrics.json"


class MetricsUnreadable(ValueError):
    """A file of metrics is not in its format."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One value that a test recorded."""

    test: str
    name: str
    value: float
    unit: str


def recorded_in(outputs: Path) -> tuple[Recorded, ...]:
    """What the tests of one target, or of one shard of it, recorded.

    Args:
        outputs: the zip file in which Bazel keeps what they wrote; it may be missing.

    Raises:
        MetricsUnreadable: the zip file is none, or the metrics in it are not in their format.
    """
    if not outputs.exists():
        return ()
    try:
        with zipfile.ZipFile(outputs) as archive:
            if METRICS_FILE not in archive.namelist():
                return ()
            text = archive.read(METRICS_FILE).decode()
        return tuple(_parse(text))
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MetricsUnreadable(f"{outputs}: {METRICS_FILE}: {error}") from error


def _parse(text: str) -> Iterator[Recorded]:
    for test, metrics in json.loads(text).items():
        for metric in metrics:
            value = metric["value"]
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise MetricsUnreadable(f"{test}: expected a number, got {value!r}")
            yield Recorded(test, str(metric["name"]), value, str(metric.get("unit", "")))
