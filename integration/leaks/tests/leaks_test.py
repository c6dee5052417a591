import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from integration.leaks.catalogue import LEAKS, Leak, leak_named

AUDIT = Path(os.environ["AUDIT"]).absolute()
LIMIT_SECONDS = 150


def audited(directory: Path, leak: Leak) -> tuple[int, dict[str, Any]]:
    """The exit code and the JSON of an audit with a leak in the system."""
    result = directory / "audit.json"
    options = ["--operations", "200", "--report", str(directory / "report"), "--json", str(result)]
    finished = subprocess.run(
        [AUDIT, "--leak", leak.name, *options],
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )
    assert result.exists(), finished.stdout + finished.stderr
    return finished.returncode, json.loads(result.read_text())


@pytest.mark.parametrize("leak", LEAKS, ids=[leak.name for leak in LEAKS])
def test_leak_is_found_with_a_witness(leak: Leak, tmp_path: Path) -> None:
    """Each seeded leak turns the verdict to LEAK; a witness says who wrote, who saw, and where."""
    code, report = audited(tmp_path, leak)

    assert (10, "LEAK") == (code, report["verdict"])
    found = {name for name, anomaly in report["anomalies"].items() if anomaly["count"]}
    assert set(leak.anomalies) & found
    witnesses = [each for each in report["witnesses"] if each["anomaly"] in leak.anomalies]
    assert witnesses
    for witness in witnesses:
        assert witness["channel"] in leak.channels
        assert witness["owner"]
        assert witness["writer"]
        assert witness["observer"]


def test_every_leak_is_seen_somewhere_of_its_own() -> None:
    """Names are unique, and together the leaks show on every channel that nobody asks through."""
    names = [leak.name for leak in LEAKS]

    assert len(names) == len(set(names))
    shown = {channel for leak in LEAKS if len(leak.channels) == 1 for channel in leak.channels}
    assert {"logs", "traces", "metrics", "audit-trail"} <= shown


def test_unknown_leak_is_refused() -> None:
    """A name that is none tells those that are."""
    with pytest.raises(KeyError, match="cache-key"):
        leak_named("nothing")
