import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from integration.security.inputs import HOSTILE_TEXTS

ROOT = Path(__file__).parents[3]
SOURCES = {
    "audit": ROOT / "integration/audit_command.py",
    "up": ROOT / "integration/up_command.py",
    "example": ROOT / "integration/systems/example/main.py",
}
# Those that audit take a history to judge again, too.
COMMANDS = [("audit",), ("audit", "check"), ("up",), ("example",), ("example", "check")]
LIMIT_SECONDS = 60
BAD_NUMBERS = ("", "-1", "9" * 30, "\u0661x", "1.5", "--")
# What a shell can pass on: bytes that are no UTF-8, but no zero byte.
TEXTS = (
    *(text for text in HOSTILE_TEXTS if "\x00" not in text and "\ud800" not in text),
    "bytes \udcff\udcfe",
    "\x1b[2Jcleared",
)


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended, and what it said."""

    code: int
    output: str
    errors: str


class Commands:
    """Runs each program in this process, from its first line on, in a folder of its own.

    The interpreter's start, which takes a hundred times as long, is left to one test.
    """

    def __init__(
        self, folder: Path, patch: pytest.MonkeyPatch, captured: pytest.CaptureFixture[str]
    ) -> None:
        self.folder = folder
        self._patch = patch
        self._captured = captured

    def run(self, name: str, *arguments: str) -> Finished:
        """The command as a user types it; a traceback fails the test."""
        self._captured.readouterr()
        with self._patch.context() as patch:
            patch.setattr(sys, "argv", [name, *arguments])
            with pytest.raises(SystemExit) as left:
                runpy.run_path(str(SOURCES[name]), run_name="__main__")
        output, errors = self._captured.readouterr()
        assert isinstance(left.value.code, int)
        return Finished(left.value.code, output, errors)

    def options(self, *command: str) -> Iterator[tuple[str, bool]]:
        """Every option with a value that the help names, and whether that is a number."""
        shown = self.run(*command, "--help").output
        for name, what in re.findall(r"^\s+(--[a-z-]+)(?: ([A-Z]+))?", shown, flags=re.MULTILINE):
            if what:
                yield name, what in {"N", "REPLICAS"}


@pytest.fixture
def commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Commands:
    """Commands typed in a folder with one file, below others that `..` leads to."""
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "file").write_text("somebody's")
    monkeypatch.setenv("BUILD_WORKING_DIRECTORY", str(folder))
    return Commands(folder, monkeypatch, capsys)


def untouched(commands: Commands) -> bool:
    """Whether nothing has come and nothing has gone, there or above."""
    top = commands.folder.parents[1]
    found = {path.relative_to(top).as_posix() for path in top.rglob("*")}
    return found == {"a", "a/b", "a/b/file"} and (commands.folder / "file").stat().st_size > 0


def faults(finished: Finished) -> Iterator[str]:
    """What is wrong with how a command refused: nothing, where it said why and left with 64."""
    if finished.code != os.EX_USAGE:
        yield f"left with {finished.code}"
    if not finished.errors.strip() or "Traceback" in finished.errors:
        yield f"said {finished.errors!r:.200}"
    if "\x1b" in finished.errors:
        yield f"passed on an escape sequence: {finished.errors!r:.200}"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_bad_option_leaves_with_64(commands: Commands, command: tuple[str, ...]) -> None:
    """A number that is none, or an option without its value, is refused in words, and no more."""
    options = list(commands.options(*command))
    attempts = [["--nothing"], ["-x"], ["surplus", "more"], ["--", "surplus", "more"]]
    for option, numeric in options:
        attempts.append([option])
        attempts += [[f"{option}={value}"] for value in BAD_NUMBERS if numeric]
        attempts += [[option, value] for value in BAD_NUMBERS if numeric]
    found = [
        f"{arguments}: {fault}"
        for arguments in attempts
        for fault in faults(commands.run(*command, *arguments))
    ]

    assert [] == found
    assert options
    assert untouched(commands)


@pytest.mark.parametrize("name", ["audit", "example"])
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--leak", "TEXT"], id="leak"),
        # The folder is judged before the file, whose own folder does not exist.
        pytest.param(["--report", "TEXT", "--json", "nowhere/file"], id="report"),
        # The file is claimed before the folder, which cannot be where a file is.
        pytest.param(["--json", "TEXT", "--report", "file/report"], id="json"),
        pytest.param(["check", "TEXT"], id="history"),
        pytest.param(["check", "nowhere", "--json", "TEXT"], id="json of a check"),
    ],
)
def test_hostile_text_is_refused(commands: Commands, name: str, arguments: list[str]) -> None:
    """A name or path that means ill is refused, or taken for what it is, and nothing is left."""
    found = [
        f"{text!r:.40}: {fault}"
        for text in TEXTS
        for fault in faults(
            commands.run(name, *(text if each == "TEXT" else each for each in arguments))
        )
    ]

    assert [] == found
    assert untouched(commands)


def test_programs_themselves_refuse(tmp_path: Path) -> None:
    """As it is installed each program leaves with 64, too, and says why in one line."""

    def run(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(os.environ[name.upper()]).absolute(), "--nothing"],
            check=False,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            env={**os.environ, "BUILD_WORKING_DIRECTORY": str(tmp_path)},
        )

    with ThreadPoolExecutor(2) as threads:  # as many as a small machine has cores
        finished = list(threads.map(run, SOURCES))

    assert [os.EX_USAGE] * 3 == [each.returncode for each in finished]
    assert [1] * 3 == [len(each.stderr.splitlines()) for each in finished]
    assert [] == list(tmp_path.iterdir())
