"""An exploration of a system with a leak in it fails, and what it keeps fails again."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import pytest

from integration.fixtures.seeding import run_suite
from integration.isolation.exploring import DIRECTORY_VARIABLE, SEED_VARIABLE, Exploration

SUITE: Final = Path(__file__).parent / "explore_test.py"
AUDIT: Final = "test_audit_under_a_fresh_seed_passes"
KEPT: Final = ("command.txt", "exploration.json", "history.jsonl", "report.html", "report.json")


def explored(directory: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Explores a system that leaks; gives the files that are kept."""
    kept = directory / "kept"
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(kept))
    result = run_suite(SUITE, directory, defect="websocket-routing", only=AUDIT)

    assert [AUDIT] == sorted(result.failed), result.output
    assert [] == sorted(result.broken), result.output
    command = (kept / "command.txt").read_text().strip()
    assert command in result.output
    assert "misroute" in json.loads((kept / "report.json").read_text())["anomalies"]
    return {name: (kept / name).read_text() for name in KEPT}


def test_kept_command_repeats_the_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh seed finds the leak; the command that it leaves gives the same plan, and finds it."""
    for name in ("first", "again"):
        (tmp_path / name).mkdir()
    monkeypatch.delenv(SEED_VARIABLE, raising=False)
    first = explored(tmp_path / "first", monkeypatch)
    found = re.search(r"--test_env=(\w+)=(\d+)", first["command.txt"])
    assert found
    monkeypatch.setenv(found[1], found[2])
    again = explored(tmp_path / "again", monkeypatch)

    assert first["command.txt"] == again["command.txt"]
    assert first["exploration.json"] == again["exploration.json"]


def test_every_seed_has_a_plan_of_its_own() -> None:
    """The same seed gives the same exploration, another one another."""
    drawn = [Exploration.drawn(seed) for seed in (1, 1, 2)]

    assert drawn[0] == drawn[1]
    assert drawn[0].plan != drawn[2].plan


@pytest.mark.parametrize("given", ["-1", "one", ""])
def test_seed_that_is_none_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seed that cannot be repeated is not taken for another."""
    monkeypatch.setenv(SEED_VARIABLE, given)

    with pytest.raises(ValueError, match=r"."):
        Exploration.fresh()
