"""The programs and a suite, run as a user would run them against servers of somebody else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Final

from tools.datastores.tests.somebody import Somebody, with_variables

AUDIT: Final = Path(os.environ["AUDIT"]).absolute()
UP: Final = Path(os.environ["UP"]).absolute()
SUITES: Final = (
    Path("integration/isolation/tests/transactions_test.py"),
    Path("integration/security/tests/untouched_test.py"),
)
_SELECTION: Final = "scope_ends_however or http_backend"
"""Rows under login roles; and counts of the servers, which differ most where they are shared."""
LIMIT_SECONDS: Final = 120
_SMALL: Final = ("--users", "1", "--operations", "150")
_CONFIGURATION: Final = "pyproject.toml"


def audit(theirs: Somebody, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A small audit with its report in a directory."""
    return subprocess.run(
        [AUDIT, *_SMALL, "--json", "audit.json", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        env={**with_variables(theirs), "BUILD_WORKING_DIRECTORY": str(directory)},
    )


def servers_of_report(directory: Path) -> str:
    """What an audit's report says of the datastores."""
    report = json.loads((directory / "audit.json").read_text())
    return str(report["configuration"]["datastores"])


def suites(theirs: Somebody, directory: Path) -> tuple[list[str], list[str], str]:
    """The names of the suites' tests that passed, of the others, and what was printed."""
    report = directory / "suites.xml"
    kept = {n: v for n, v in with_variables(theirs).items() if not n.startswith("TEST_")}
    finished = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", _CONFIGURATION, "--rootdir=."),
            *("--import-mode=importlib", "-p", "no:cacheprovider", f"--junitxml={report}"),
            *(f"--basetemp={directory / 'tests'}", "-k", _SELECTION, *map(str, SUITES)),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        env={**kept, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert report.exists(), finished.stdout + finished.stderr
    passed: list[str] = []
    others: list[str] = []
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 -- pytest's own
        good = not {child.tag for child in case} & {"failure", "error", "skipped"}
        (passed if good else others).append(case.attrib["name"])
    return passed, others, finished.stdout + finished.stderr
