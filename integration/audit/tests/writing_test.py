"""What a command writes: where, never an earlier verdict, and what when it cannot be written."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from integration.audit import Adapter, Launch, main
from integration.audit.folder import MARKER_NAME
from integration.audit.history import HistoryWriter
from integration.audit.tests.boards import Board
from integration.audit.tests.commands import audit

pytestmark = pytest.mark.usefixtures("typed_in")


@pytest.mark.parametrize("name", ["x.json", "report.json"])
def test_the_json_may_lie_in_the_reports_folder(typed_in: Path, name: str) -> None:
    """The folder is judged before its own file is in it, the first time and later."""
    for folder in ("fresh", "empty", "empty"):
        (typed_in / "empty").mkdir(exist_ok=True)
        code = audit("--operations", "120", "--report", folder, "--json", f"{folder}/{name}")

        assert code == 0
        assert "PASS" == json.loads((typed_in / folder / name).read_text())["verdict"]


@pytest.mark.parametrize(
    "path", ["r", "r/history.jsonl", "r/report.html", f"r/{MARKER_NAME}", "r/sub/x.json", "folder"]
)
def test_the_json_takes_no_other_files_place(
    typed_in: Path, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What else is in the report, and a folder, is no file for the JSON; nothing is touched."""
    (typed_in / "folder").mkdir()

    assert 64 == audit("--report", "r", "--json", path)
    assert f"--json {path}: " in capsys.readouterr().err
    assert [typed_in / "folder"] == list(typed_in.iterdir())


def test_a_refused_report_leaves_no_json(typed_in: Path) -> None:
    """Neither a folder that is refused at sight leaves one, nor one that cannot be made."""
    (typed_in / "mine").mkdir()
    (typed_in / "mine" / "thesis.txt").write_text("years of work")

    assert 64 == audit("--report", "mine", "--json", "y.json")
    assert 64 == audit("--report", "y.json/r", "--json", "y.json")
    assert [typed_in / "mine"] == list(typed_in.iterdir())


def test_no_earlier_verdict_is_there_while_an_audit_runs(typed_in: Path) -> None:
    """An audit that is killed must not leave the JSON of the one before it."""
    audit("--operations", "120", "--json", "out.json")
    seen = []

    @asynccontextmanager
    async def looking(launch: Launch) -> AsyncIterator[Adapter]:
        del launch
        seen.append((typed_in / "out.json").read_text())
        yield Board()

    main(["--operations", "1", "--json", "out.json"], program="audit", open_adapter=looking)

    assert [""] == seen
    assert "INCONCLUSIVE" == json.loads((typed_in / "out.json").read_text())["verdict"]


def test_a_check_never_writes_over_its_history(typed_in: Path) -> None:
    """The history of an audit is what can be judged again, and stays."""
    audit("--operations", "120")
    history = typed_in / "audit-report" / "history.jsonl"
    before = history.read_bytes()

    assert 64 == audit("check", "audit-report/history.jsonl", "--json", str(history))
    assert before == history.read_bytes()


def test_a_refused_check_leaves_no_json(typed_in: Path) -> None:
    """Neither an empty file stays, nor an earlier verdict that could be taken for this one's."""
    (typed_in / "notes.txt").write_text("hello")
    (typed_in / "y.json").write_text('{"verdict": "PASS"}')

    assert 64 == audit("check", "notes.txt", "--json", "y.json")
    assert not (typed_in / "y.json").exists()


def test_what_cannot_be_written_does_not_change_the_verdict(
    typed_in: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk under a LEAK's report is said, and no half a file stays; the exit code is 10."""
    write_text = Path.write_text

    def full(path: Path, text: str, *more: Any, **named: Any) -> int:
        if path.suffix not in {".json", ".html"}:
            return write_text(path, text, *more, **named)
        write_text(path, text[:20], encoding="utf-8")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", full)

    assert 10 == audit("--operations", "120", "--leak", "wrong thread", "--json", "out.json")
    errors = capsys.readouterr().err.splitlines()
    assert ["report.json", "report.html", "out.json"] == [
        line.split(" was not written: ")[0].rpartition("/")[2] for line in errors
    ]
    assert {MARKER_NAME, "history.jsonl"} == {
        path.name for path in (typed_in / "audit-report").iterdir()
    }
    assert not (typed_in / "out.json").exists()


def test_without_a_history_there_is_no_verdict_but_inconclusive(
    typed_in: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A disk that is full from the start is not the arguments' fault."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(HistoryWriter, "_append", full)

    assert 12 == audit("--operations", "1", "--json", "out.json")
    assert "No space left on device" in capsys.readouterr().err
    assert not (typed_in / "out.json").exists()


@pytest.mark.parametrize("output", ["closed pipe", "full disk"])
def test_an_output_that_nobody_takes_does_not_change_the_verdict(output: str) -> None:
    """`audit | head -1` and a full disk under the log end with the verdict's exit code."""
    audit("--operations", "120", "--leak", "wrong thread")
    if output == "full disk":
        writing = os.open("/dev/full", os.O_WRONLY)
    else:
        reading, writing = os.pipe()
        os.close(reading)
    code = (
        "import sys; from integration.audit.tests.commands import audit; "
        "sys.exit(audit('check', 'audit-report/history.jsonl'))"
    )
    with os.fdopen(writing, "wb") as stdout:
        finished = subprocess.run(
            [sys.executable, "-c", code],
            check=False,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    assert 10 == finished.returncode, finished.stderr
    assert "Traceback" not in finished.stderr
    assert "Exception" not in finished.stderr
