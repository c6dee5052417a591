"""That the suite of continuity goes red for what it is there to notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration.fixtures.seeding import run_suite

SUITE = Path(__file__).with_name("continuity_test.py")

FAILS = {
    "session-cache-miss": {
        "test_session_outlives_a_redis_that_comes_back_empty",
        "test_session_outlives_the_restart_of_postgres",
        "test_concurrent_opens_of_a_first_run_agree",
    },
    "session-in-process": {
        "test_no_run_is_the_current_one_the_same_continues_and_another_opens",
        "test_session_outlives_the_restart_of_a_service",
        "test_concurrent_runs_end_with_the_one_that_was_committed_last",
    },
    "session-key": {
        "test_no_run_is_the_current_one_the_same_continues_and_another_opens",
        "test_concurrent_opens_of_a_first_run_agree",
        "test_hostile_threads_and_runs_never_resume_each_other",
    },
    "unchecked-run": {
        "test_identifiers_of_others_neither_resume_nor_reveal",
        "test_another_thread_of_the_user_does_not_take_her_run",
    },
}


@pytest.mark.parametrize("defect", FAILS)
def test_defect_turns_its_tests_red(defect: str, tmp_path: Path) -> None:
    """Each defect fails the tests that are about it, in all their variants, and breaks none."""
    result = run_suite(SUITE, tmp_path, defect=defect, only=" or ".join(FAILS[defect]))

    assert FAILS[defect] == {name.partition("[")[0] for name in result.failed}, result.output
    assert not result.passed, result.output
    assert not result.broken, result.output
