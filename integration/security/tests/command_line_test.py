import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

PROGRAMS = {name: Path(os.environ[name.upper()]).absolute() for name in ("audit", "up")}
LIMIT_SECONDS = 60
BAD_VALUES = ("", "-1", "9" * 30, "\u0661x", "--")
# As many programs at a time as a small machine has cores.
AT_ONCE = 2


def run(program: Path, *arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """The command as a user types it."""
    return subprocess.run(
        [program, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        env={**os.environ, "BUILD_WORKING_DIRECTORY": str(directory)},
    )


def options(program: Path, directory: Path) -> dict[str, bool]:
    """Every option that the program's own help names, and whether it is a number."""
    shown = run(program, "--help", directory=directory).stdout
    found = re.findall(r"^\s+(--[a-z-]+)(?: ([A-Z]+))?", shown, flags=re.MULTILINE)
    return {name: what in {"N", "NUMBER", "REPLICAS"} for name, what in found if what}


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_names_the_options(name: str, tmp_path: Path) -> None:
    """The enumeration is not empty, so the other test is about something."""
    found = options(PROGRAMS[name], tmp_path)

    assert any(found.values()), found


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_bad_option_leaves_with_64(name: str, tmp_path: Path) -> None:
    """A number that is none, or an option without its value, is refused in words, and no more."""
    program = PROGRAMS[name]
    attempts = [["--nothing"], ["-x"], ["surplus"], ["--", "surplus"]]
    for option, numeric in options(program, tmp_path).items():
        attempts.append([option])
        if numeric:
            attempts += [[f"{option}={value}"] for value in BAD_VALUES]
    faults = []
    with ThreadPoolExecutor(AT_ONCE) as threads:
        results = threads.map(lambda each: run(program, *each, directory=tmp_path), attempts)
    for arguments, finished in zip(attempts, results, strict=True):
        if finished.returncode != os.EX_USAGE:
            faults.append(f"{arguments}: left with {finished.returncode}")
        if not finished.stderr.strip() or "Traceback" in finished.stderr:
            faults.append(f"{arguments}: said {finished.stderr!r:.200}")

    assert [] == faults
    assert [] == list(tmp_path.iterdir())
