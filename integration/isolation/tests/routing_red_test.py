"""That the suite of routing goes red for what it is there to notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration.fixtures.seeding import run_suite

SUITE = Path(__file__).with_name("routing_test.py")

FAILS = {
    "websocket-routing": {
        "test_one_socket_tells_two_threads_of_a_user_apart",
        "test_two_sockets_of_a_user_hear_one_thread_each",
        "test_equal_labels_of_two_users_of_a_tenant_meet_nothing",
        "test_events_cross_replicas_and_no_threads",
        "test_known_thread_answers_a_stranger_as_none_does",
    },
    "websocket-broadcast": {
        "test_equal_login_names_of_two_tenants_meet_nothing",
        "test_all_sockets_of_a_thread_hear_all_of_it",
    },
    "resume-off-by-one": {"test_resumed_socket_hears_the_gap_once_and_in_order"},
    "subscription-outlives": {
        "test_unsubscribed_socket_hears_nothing_more_of_the_thread",
        "test_log_out_closes_the_sockets_of_its_log_in_alone",
    },
    "unbounded-buffer": {
        "test_slow_consumers_cost_little_and_miss_nothing",
        "test_who_resumes_and_does_not_read_costs_little",
    },
}


@pytest.mark.parametrize("defect", FAILS)
def test_defect_turns_its_tests_red(defect: str, tmp_path: Path) -> None:
    """Each defect fails just the tests that are about it, and breaks none."""
    result = run_suite(SUITE, tmp_path, defect=defect, only=" or ".join(FAILS[defect]))

    assert FAILS[defect] == set(result.failed), result.output
    assert not result.broken, result.output
