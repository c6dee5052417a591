from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import pytest

from integration.performance.command import main
from integration.performance.comparison import Comparison, Sample

COMPARISON = Comparison(
    name="thing",
    question="How <fast> is the thing?",
    baseline="old",
    samples={"old": Sample((2.0,) * 5), "new": Sample((1.0, 1.0, 1.0, 1.5, 0.5))},
    notes=("measured by hand",),
)


async def measure(rounds: int) -> Sequence[Comparison]:
    """As if it had been measured."""
    assert rounds == 5
    return [COMPARISON]


def test_figures_are_printed_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table has medians and ratios, the folder the figures and a plot, all with the machine."""
    code = main("thing", "d", measure, ["--rounds", "5", "--output", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    figures = json.loads((tmp_path / "out/thing.json").read_text())
    plot = ET.parse(tmp_path / "out/thing.svg").getroot()  # noqa: S314 -- our own

    assert 0 == code
    assert "1000.00 ms" in printed
    assert "0.50" in printed
    assert "measured by hand" in printed
    assert "processor" in printed
    assert {"old": 1.0, "new": 0.5} == figures["ratios"]
    assert [1.0, 1.0, 1.0, 1.5, 0.5] == figures["samples"]["new"]["seconds"]
    assert figures["machine"]["cores"]
    assert plot.tag.endswith("svg")
    assert [] == [each.tag for each in plot.iter() if each.tag.endswith("script")]


@pytest.mark.parametrize("rounds", ["4", "101", "-5", "many"])
def test_wrong_rounds_are_refused(rounds: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Fewer than five rounds make no median; the line says what is expected."""
    with pytest.raises(SystemExit) as caught:
        main("thing", "d", measure, [f"--rounds={rounds}"])

    assert 64 == caught.value.code
    assert "expected a number from 5 to 100" in capsys.readouterr().err
