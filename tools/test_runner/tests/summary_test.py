"""The recording is what a real Bazel wrote: record_events.py in this room makes it."""

import io
import json
import zipfile
from pathlib import Path

import pytest
from rich.console import Console

from tools.build.tally import Count
from tools.test_runner.metrics import MetricsUnreadable, Recorded, recorded_in
from tools.test_runner.summary import Row, Summary, show, summarised

RECORDING = Path(__file__).parent / "recording"
PACKAGE = "//tools/test_runner/recorded"


@pytest.fixture
def recorded(tmp_path: Path) -> Summary:
    """The summary of the recorded run."""
    events = tmp_path / "events.json"
    text = (RECORDING / "events.json").read_text()
    events.write_text(text.replace("file:///testlogs", (RECORDING / "testlogs").as_uri()))
    return summarised(events)


def shown(summary: Summary) -> str:
    """What is printed."""
    console = Console(file=io.StringIO(), width=120)
    show(summary, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def outputs(folder: Path, text: str, name: str = "metrics.json") -> Path:
    """A zip file of what a test left."""
    path = folder / "outputs.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, text)
    return path


def test_each_target_has_its_cases(recorded: Summary) -> None:
    """Passed, failed, skipped and deselected are counted for each target, over all its shards."""
    assert {row.label: (row.status, row.count) for row in recorded.rows} == {
        f"{PACKAGE}:bad_test": ("FAILED", Count(passed=1, failed=1)),
        f"{PACKAGE}:good_test": ("PASSED", Count(passed=2, skipped=2, deselected=4)),
        f"{PACKAGE}:unbuilt_test": ("NOT RUN", Count(failed=1)),
    }
    assert recorded.total == Count(passed=3, failed=2, skipped=2, deselected=4)


def test_seconds_are_of_all_shards(recorded: Summary) -> None:
    """The time of a target is that of its shards together, and it is said what was cached."""
    seconds = {row.label: round(row.seconds, 3) for row in recorded.rows}

    assert seconds[f"{PACKAGE}:good_test"] == 0.973
    assert [row.cached for row in recorded.rows] == [False, False, False]


def test_metrics_come_from_what_the_test_left(recorded: Summary) -> None:
    """Recorded values are found in the target's kept outputs, under their test."""
    test = "good_test.py::test_a[1-x]"

    assert recorded.metrics == (
        Recorded(test, "factor", 1.25, ""),
        Recorded(test, "latency", 12, "ms"),
    )
    assert recorded.complaints == ()


def test_the_summary_shows_all_of_it(recorded: Summary) -> None:
    """Tables of targets and of metrics, and the count as the last line."""
    text = shown(recorded)
    lines = [line.split() for line in text.splitlines()]

    assert [f"{PACKAGE}:bad_test", "FAILED", "1", "1", "-", "-", "0.3"] in lines
    assert [f"{PACKAGE}:good_test", "2", "-", "2", "4", "1.0"] in lines
    assert [f"{PACKAGE}:unbuilt_test", "NOT", "RUN", "-", "1", "-", "-", "0.0"] in lines
    assert ["good_test.py::test_a[1-x]", "factor", "1.25"] in lines
    assert ["good_test.py::test_a[1-x]", "latency", "12", "ms"] in lines
    assert text.splitlines()[-1] == "3 passed, 2 failed, 2 skipped, 4 deselected"


def test_a_cached_result_says_so() -> None:
    """The time of an earlier run is not shown as this one's."""
    row = Row("//:a", "PASSED", Count(passed=1), seconds=9.0, cached=True)

    text = shown(Summary((row,), (), ()))

    assert "cached" in text
    assert "9.0" not in text


def test_a_run_without_events_is_empty(tmp_path: Path) -> None:
    """Bazel may end before it writes anything: then there is nothing, and no success."""
    assert summarised(tmp_path / "events.json") == Summary((), (), ())


def test_outputs_without_metrics_are_none(tmp_path: Path) -> None:
    """Most tests keep something else, or nothing."""
    assert recorded_in(tmp_path / "missing.zip") == ()
    assert recorded_in(outputs(tmp_path, "{}", name="deeper/metrics.json")) == ()


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        "[]",
        '{"a": 1}',
        '{"a": [1]}',
        '{"a": [{"value": 1}]}',
        '{"a": [{"name": "n"}]}',
        '{"a": [{"name": "n", "value": "1"}]}',
        '{"a": [{"name": "n", "value": true}]}',
    ],
)
def test_metrics_in_another_format_are_refused(tmp_path: Path, text: str) -> None:
    """What is not in the format is an error that names the file, never silently nothing."""
    with pytest.raises(MetricsUnreadable, match="metrics"):
        recorded_in(outputs(tmp_path, text))


def test_unreadable_metrics_are_a_complaint(tmp_path: Path) -> None:
    """The summary names the target whose metrics could not be read."""
    left = tmp_path / "outputs.zip"
    left.write_text("no zip file")
    output = {"name": "test.outputs__outputs.zip", "uri": left.as_uri()}
    event = {"id": {"testResult": {"label": "//:a"}}, "testResult": {"testActionOutput": [output]}}
    events = tmp_path / "events.json"
    events.write_text(json.dumps(event))

    (complaint,) = summarised(events).complaints

    assert complaint.startswith("//:a: ")
    assert "outputs.zip" in complaint
