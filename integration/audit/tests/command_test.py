"""The command line: exit codes, what it refuses, and what it shows."""

import html
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from integration.audit import Adapter, Anomaly, Channel, Launch, Verdict, main
from integration.audit.folder import MARKER_NAME
from integration.audit.tests.boards import Board
from integration.audit.tests.commands import LEAKS, audit

pytestmark = pytest.mark.usefixtures("typed_in")


@pytest.mark.parametrize(("leak", "expected"), [("", 0), ("wrong thread", 10), ("lost", 11)])
def test_the_exit_code_is_the_verdict(
    typed_in: Path, leak: str, expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 PASS, 10 LEAK, 11 LOSS; the report says the same."""
    chosen = ["--leak", leak] if leak else []
    code = audit("--operations", "120", "--json", "out.json", *chosen)

    assert expected == code
    document = json.loads((typed_in / "out.json").read_text())
    assert expected == Verdict[document["verdict"]].exit_code
    assert document["verdict"] in capsys.readouterr().out
    assert {MARKER_NAME, "history.jsonl", "report.html", "report.json"} == {
        path.name for path in (typed_in / "audit-report").iterdir()
    }


def test_too_few_operations_are_inconclusive(typed_in: Path) -> None:
    """One operation proves nothing: exit code 12."""
    assert 12 == audit("--operations", "1", "--report", str(typed_in / "r"))


def test_the_document_has_what_it_promises(typed_in: Path) -> None:
    """Every channel and anomaly has a row; what nothing looked at is null, not 0."""
    audit("--operations", "120", "--seed", "9", "--json", "out.json", "--leak", "wrong thread")

    document = json.loads((typed_in / "out.json").read_text())
    assert 9 == document["seed"]
    assert [channel.value for channel in Channel] == list(document["channels"])
    assert {"observations", "canaries", "leaks"} <= document["channels"]["http"].keys()
    assert document["channels"]["http"]["leaks"] > 0
    assert document["channels"]["traces"]["observations"] is None
    assert [anomaly.value for anomaly in Anomaly] == list(document["anomalies"])
    assert document["anomalies"]["cross-thread-read"]["count"] > 0
    unchecked = document["anomalies"]["phantom-continuity"]
    assert (None, None) == (unchecked["count"], unchecked["checks"])
    assert 0 == document["anomalies"]["misroute"]["count"]
    assert not any(
        each["count"] == 0 and each["checks"] is None for each in document["anomalies"].values()
    )
    assert all(metric.keys() == {"value", "unit"} for metric in document["metrics"].values())
    assert document["duration_seconds"] > 0
    witness = document["witnesses"][0]
    assert witness["writer"]
    assert witness["observer"]
    assert ["writer", "observer"] == [part["role"] for part in witness["operations"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tenants", "x"], "argument --tenants: invalid int value: 'x'"),
        (["--tenants", "0"], "tenants must be from 1 to 1000, but is 0"),
        (["--users", "-3"], "users must be"),
        (["--threads", "9999"], "threads must be"),
        (["--operations", "0"], "operations must be"),
        (["--seed", "-1"], "seed must be"),
        (["--seed", "1.5"], "argument --seed"),
        (["--tenants", "1000", "--users", "1000"], "tenants x users x threads must be at most"),
        (["--leak", "nothing"], "--leak 'nothing' is not one of: wrong thread"),
        (["--operation", "5"], "unrecognized arguments: --operation 5"),
        (["extra"], "unrecognized arguments: extra"),
        (["--report"], "expected one argument"),
        (["--json", "no/such/folder/x.json"], "No such file or directory"),
        (["check"], "the following arguments are required: HISTORY"),
        (["check", "missing.jsonl"], "No such file or directory"),
    ],
)
def test_wrong_arguments_are_said_and_give_64(
    arguments: list[str],
    message: str,
    typed_in: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The message says what is wrong, and nothing has been touched."""
    assert 64 == audit(*arguments)
    assert message in capsys.readouterr().err
    assert not (typed_in / "audit-report").exists()


def test_leaks_are_listed_with_their_names_first(capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each."""
    assert audit("--list-leaks") == 0

    lines = capsys.readouterr().out.splitlines()
    assert len(LEAKS) == len(lines)
    assert all(line.startswith(leak.name) for line, leak in zip(lines, LEAKS, strict=True))


def test_the_head_says_what_ran_and_what_it_does_not_speak_for(
    typed_in: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Command and limits stand beside the verdict, also when the history is checked again."""
    audit("--operations", "120", "--report", "my report")
    audit("check", "my report/history.jsonl", "--json", "again.json")

    shown = " ".join(capsys.readouterr().out.split())
    page = (typed_in / "my report" / "report.html").read_text()
    command = "audit --operations 120 --report 'my report'"
    limits = (
        "It does not speak for the channels grpc, redis-keys, redis-streams, traces, metrics and "
        "audit-trail (not observed), nor for the anomaly "
        "phantom-continuity (not checked)."
    )
    assert 2 == shown.count(command)
    assert 2 == shown.count(limits)
    assert html.escape(command).replace("&#x27;", "&#39;") in page
    assert limits in page
    assert command == json.loads((typed_in / "again.json").read_text())["command"]


def test_a_history_is_checked_again(typed_in: Path) -> None:
    """`check` gives the verdict of the audit that wrote the file."""
    audit("--operations", "120", "--leak", "wrong thread")

    assert 10 == audit("check", "audit-report/history.jsonl", "--json", "again.json")
    assert "LEAK" == json.loads((typed_in / "again.json").read_text())["verdict"]


def test_a_file_that_is_no_history_gives_64(typed_in: Path) -> None:
    """A mistyped path is no verdict."""
    (typed_in / "notes.txt").write_text("hello")

    assert 64 == audit("check", "notes.txt")


def test_an_earlier_report_is_replaced_whole(typed_in: Path) -> None:
    """Nothing of the earlier one is left."""
    audit("--operations", "1")
    (typed_in / "audit-report" / "stray").write_text("of the earlier report")
    audit("--operations", "1")

    assert not (typed_in / "audit-report" / "stray").exists()


def test_a_folder_that_is_no_report_is_left_alone(
    typed_in: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A user's own files are never deleted."""
    mine = typed_in / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")

    assert 64 == audit("--report", "mine")
    assert "no earlier report" in capsys.readouterr().err
    assert "years of work" == (mine / "thesis.txt").read_text()


def test_a_file_in_the_folders_place_is_left_alone(typed_in: Path) -> None:
    """A file is no folder."""
    (typed_in / "audit-report").write_text("a file")

    assert 64 == audit()
    assert "a file" == (typed_in / "audit-report").read_text()


def test_a_system_that_does_not_start_is_inconclusive(
    typed_in: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is a report all the same, and it says why."""

    @asynccontextmanager
    async def broken(launch: Launch) -> AsyncIterator[Adapter]:
        del launch
        raise RuntimeError("no database")
        yield Board()

    assert 12 == main(["--json", "out.json"], program="audit", open_adapter=broken)
    document = json.loads((typed_in / "out.json").read_text())
    assert any("no database" in reason for reason in document["reasons"])
    limits = "It does not speak for any channel (not observed), nor for any anomaly (not checked)."
    assert limits in " ".join(capsys.readouterr().out.split())
    assert (typed_in / "audit-report" / "report.html").exists()


def test_a_system_that_does_not_stop_is_inconclusive(typed_in: Path) -> None:
    """A failure after the last look keeps a PASS from being one."""

    @asynccontextmanager
    async def clinging(launch: Launch) -> AsyncIterator[Adapter]:
        del launch
        yield Board()
        raise RuntimeError("still running")

    arguments = ["--operations", "120", "--json", "out.json"]
    assert 12 == main(arguments, program="audit", open_adapter=clinging)
    document = json.loads((typed_in / "out.json").read_text())
    assert ["RuntimeError: still running"] == document["reasons"]
