import json
import pathlib

import pytest

from tools.build.tally import Count, main, targets

REPORT = """<testsuites><testsuite>
<testcase name="a"/><testcase name="b"/>
<testcase name="c"><skipped/></testcase>{}
</testsuite></testsuites>"""


def configured(label: str, *, test: bool = True) -> dict[str, object]:
    """The event that says that a target was asked for."""
    size = {"testSize": "SMALL"} if test else {}
    return {"id": {"targetConfigured": {"label": label}}, "configured": {"targetKind": "x", **size}}


def ran(label: str, status: str, report: pathlib.Path | None) -> list[dict[str, object]]:
    """The events of a target that ran."""
    outputs = [{"name": "test.xml", "uri": report.as_uri()}] if report else []
    return [
        configured(label),
        {"id": {"testResult": {"label": label}}, "testResult": {"testActionOutput": outputs}},
        {"id": {"testSummary": {"label": label}}, "testSummary": {"overallStatus": status}},
    ]


def tally(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], events: list[dict[str, object]]
) -> tuple[int, list[str]]:
    """Runs the program; its exit code and lines."""
    file = tmp_path / "events.json"
    file.write_text("\n".join(json.dumps(event) for event in events))
    code = main([str(file)])
    return code, capsys.readouterr().out.splitlines()


def test_counts_cases(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Cases are counted, skipped ones are not, and targets that are no tests are not."""
    report = tmp_path / "test.xml"
    report.write_text(REPORT.format(""))
    events = [configured("//:library", test=False), *ran("//:a", "PASSED", report)]

    assert tally(tmp_path, capsys, events) == (0, ["2 passed, 0 failed"])


def test_counts_failed_cases(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Failures are counted apart, and their target is named."""
    report = tmp_path / "test.xml"
    report.write_text(REPORT.format('<testcase name="d"><failure/></testcase>'))

    assert tally(tmp_path, capsys, ran("//:a", "FAILED", report)) == (
        1,
        ["FAILED: //:a (1 failed)", "2 passed, 1 failed"],
    )


def test_reads_what_a_target_gave(tmp_path: pathlib.Path) -> None:
    """All shards of a target are one target: their cases, seconds and kept files together."""
    report = tmp_path / "test.xml"
    report.write_text(
        REPORT.format("").replace(
            "<testcase name=",
            '<properties><property name="deselected" value="4"/></properties><testcase name=',
            1,
        )
    )
    results = [
        {
            "testActionOutput": [
                {"name": "test.xml", "uri": report.as_uri()},
                {"name": "test.outputs__outputs.zip", "uri": f"file:///kept/{shard}.zip"},
            ],
            "testAttemptDurationMillis": "1250",
            "cachedLocally": True,
        }
        for shard in (1, 2)
    ]
    events: list[dict[str, dict[str, object]]] = [
        {"id": {"testResult": {"label": "//:a"}}, "testResult": result} for result in results
    ]
    target = targets(events)["//:a"]
    target.status = "PASSED"

    assert target.count() == Count(passed=4, failed=0, skipped=2, deselected=8)
    assert (2.5, True) == (target.seconds, target.cached)
    assert [str(path) for path in target.outputs] == ["/kept/1.zip", "/kept/2.zip"]


def test_a_crash_counts_as_a_failure(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A target that failed counts, though its report says that all passed, or there is none."""
    report = tmp_path / "test.xml"
    report.write_text(REPORT.format(""))
    events = ran("//:a", "FAILED", report) + ran("//:b", "TIMEOUT", None)

    assert tally(tmp_path, capsys, events)[1][-1] == "2 passed, 2 failed"


def test_a_target_that_was_not_run_counts_as_a_failure(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A test that was asked for and could not be built is a failure."""
    assert tally(tmp_path, capsys, [configured("//:a")]) == (
        1,
        ["NOT RUN: //:a (1 failed)", "0 passed, 1 failed"],
    )


def test_no_tests_at_all_are_no_success(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that came to nothing does not look like a good one."""
    assert tally(tmp_path, capsys, []) == (1, ["0 passed, 0 failed"])
