"""The suites of this folder notice: each is run against systems with one defect in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration.fixtures.seeding import run_suite

SUITE = Path(__file__).with_name("propagation_test.py")
DEPTH = Path(__file__).with_name("depth_test.py")


def every_entry(name: str) -> set[str]:
    """A test's names, one for each entry channel."""
    return {f"{name}[{entry}]" for entry in ("http", "grpc", "websocket")}


def by_hop(name: str) -> set[str]:
    """A test's names, one for each entry channel from which usage is told by a hop."""
    return {f"{name}[{entry}]" for entry in ("http", "grpc")}


HOPS = "test_every_hop_says_whose_message_it_is"
INTERLEAVED = "test_interleaved_journeys_keep_their_contexts"
FAILS = {
    "forgotten-parent": (
        "every_hop or question or carries_less",
        {
            *by_hop(HOPS),
            *by_hop("test_a_hop_carries_less_and_never_more"),
            "test_a_question_is_asked_under_its_askers_context",
        },
    ),
    "hop-scopes": (
        "carries_less or token_is_asked or question",
        {
            *by_hop("test_a_hop_carries_less_and_never_more"),
            *by_hop("test_a_token_is_asked_for_the_work_at_hand"),
            "test_a_question_is_asked_under_its_askers_context",
        },
    ),
    "span-context": ("every_hop or interleaved", {*every_entry(HOPS), INTERLEAVED}),
    "stream-consumer": (
        "every_hop or interleaved or stored_under",
        {
            # The first entry of all has none before it; and what a hop has told is stored already.
            f"{HOPS}[grpc]",
            f"{HOPS}[websocket]",
            "test_every_row_and_event_is_stored_under_the_context[websocket]",
            INTERLEAVED,
        },
    ),
    "stream-run": (
        "a_label_goes or interleaved",
        {"test_a_label_goes_with_its_caller_and_nobody_else", INTERLEAVED},
    ),
    "token-outlives": ("carries_less", by_hop("test_a_hop_carries_less_and_never_more")),
    "trusted-header": (
        "from_outside",
        by_hop("test_context_from_outside_is_dropped"),
    ),
}


@pytest.mark.parametrize("defect", FAILS)
def test_a_defect_turns_the_suite_red(defect: str, tmp_path: Path) -> None:
    """The tests that look where the defect is fail, and none breaks before it can."""
    only, fails = FAILS[defect]
    result = run_suite(SUITE, tmp_path, defect=defect, only=only)

    assert frozenset() == result.broken, result.output
    assert fails == result.failed, result.output


def test_chains_without_an_end_turn_the_suite_red(tmp_path: Path) -> None:
    """A service that counts no depth serves what the suite sends it one call too deep."""
    result = run_suite(DEPTH, tmp_path, defect="depth-unlimited")

    assert frozenset() == result.broken, result.output
    assert {"test_a_call_too_deep_is_refused_and_touches_nothing"} == result.failed, result.output
    assert {"test_each_call_of_a_chain_names_its_callers_request"} == result.passed
