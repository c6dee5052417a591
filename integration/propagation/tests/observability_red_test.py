"""The suite notices: it is run against systems with one defect in them, by what it looks at."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from integration.fixtures.seeding import run_suite
from integration.propagation.journeys import Entry

SUITE = Path(__file__).with_name("observability_test.py")
FOUND = {f"test_a_request_is_found_by_what_its_caller_is_told[{entry}]" for entry in Entry}
SILENT = ("a bad body", "a bad token over gRPC")
OWNED = "test_whatever_names_one_user_names_no_other"
COUNTED = "test_figures_count_a_request_once"
LINES = "test_log_lines_are_json_with_declared_fields"
NOBODY = "test_figures_name_nobody"
SAID = "test_nothing_tells_what_was_said"
FAILS = {
    "log-content": ("declared or was_said", {LINES, SAID}),
    "log-context": ("is_found_by or names_one_user", {*FOUND, OWNED}),
    "path-operation": ("figures", {f"{COUNTED}[http]", NOBODY}),
    # One is enough for HTTP and one for gRPC: each waits to its limit for a line that never comes.
    "silent-refusal": (
        "test_a_refusal and (bad and body or bad and token and gRPC)",
        {f"test_a_refusal_is_found_again[{kind}]" for kind in SILENT},
    ),
    "trail-context": ("is_found_by or names_one_user", {*FOUND, OWNED}),
}


@pytest.mark.parametrize("defect", FAILS)
def test_a_defect_turns_the_suite_red(defect: str, tmp_path: Path) -> None:
    """The tests that look where the defect is fail, and none breaks before it can."""
    only, fails = FAILS[defect]
    result = run_suite(SUITE, tmp_path, defect=defect, only=only)

    assert frozenset() == result.broken, result.output
    assert fails == result.failed, result.output


def test_every_test_is_turned_red() -> None:
    """Each test of the suite is failed by one of the defects."""
    written = set(re.findall(r"^async def (test_\w+)", SUITE.read_text(), re.MULTILINE))

    assert written == {name.partition("[")[0] for _, fails in FAILS.values() for name in fails}
