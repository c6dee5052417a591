"""That the suite of trails and metadata goes red for what it is there to notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration.fixtures.seeding import run_suite

SUITE = Path(__file__).with_name("trail_test.py")

FAILS = {
    "answer-of-another": {"test_request_is_one_answers"},
    "literal-in-statement": {
        "test_metadata_of_postgres_tells_nothing[backend-backend_service]",
    },
    "stream-consumer": {
        "test_row_names_its_actor_alone",
        "test_request_is_one_traces",
        "test_counts_and_titles_are_the_callers_own",
    },
    "trail-context": {
        "test_trail_says_what_everybody_did",
        "test_row_names_its_actor_alone",
    },
}


@pytest.mark.parametrize("defect", FAILS)
def test_defect_turns_its_tests_red(defect: str, tmp_path: Path) -> None:
    """Each defect fails the tests that are about it, and breaks none."""
    names = {name.replace("[", " and ").removesuffix("]") for name in FAILS[defect]}
    only = " or ".join(f"({name})" for name in names)
    result = run_suite(SUITE, tmp_path, defect=defect, only=only)

    assert FAILS[defect] == result.failed, result.output
    assert not result.broken, result.output
