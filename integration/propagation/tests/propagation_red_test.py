"""The suites of this folder notice: each is run against systems with one defect in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from integration.fixtures.seeding import run_suite

SUITE = Path(__file__).with_name("propagation_test.py")
DEPTH = Path(__file__).with_name("depth_test.py")


def by_hop(name: str) -> set[str]:
    """A test's names, one for each entry channel from which usage is told by a hop."""
    return {f"{name}[{entry}]" for entry in ("http", "grpc")}


HOPS = "test_every_hop_says_whose_message_it_is"
OUTBOX = "test_the_outbox_and_the_stream_keep_the_context"
INTERLEAVED = "test_interleaved_journeys_keep_their_contexts"
FAILS = {
    "forgotten-parent": (
        "every_hop or every_span or question or carries_less",
        {
            *by_hop(HOPS),
            *by_hop("test_every_span_continues_its_callers"),
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
        "outbox or a_label_goes or interleaved",
        {
            # The first run of all is the right one.
            f"{OUTBOX}[grpc]",
            f"{OUTBOX}[websocket]",
            "test_a_label_goes_with_its_caller_and_nobody_else",
            INTERLEAVED,
        },
    ),
    "token-outlives": ("carries_less", by_hop("test_a_hop_carries_less_and_never_more")),
    "trusted-header": ("from_outside", by_hop("test_context_from_outside_is_dropped")),
    "websocket-routing": ("equal_labels", {"test_equal_labels_receive_their_own_events"}),
}
DEEP = "test_each_call_of_a_chain_names_its_callers_request"
TOO_DEEP = "test_a_call_too_deep_is_refused_and_touches_nothing"


@pytest.mark.parametrize("defect", FAILS)
def test_a_defect_turns_the_suite_red(defect: str, tmp_path: Path) -> None:
    """The tests that look where the defect is fail, and none breaks before it can."""
    only, fails = FAILS[defect]
    result = run_suite(SUITE, tmp_path, defect=defect, only=only)

    assert frozenset() == result.broken, result.output
    assert fails == result.failed, result.output


@pytest.mark.parametrize(
    ("defect", "fails"), [("depth-unlimited", TOO_DEEP), ("span-context", DEEP)]
)
def test_a_defect_turns_the_suite_of_depth_red(defect: str, fails: str, tmp_path: Path) -> None:
    """A service serves what is one call too deep; or says another call's place in the chain."""
    result = run_suite(DEPTH, tmp_path, defect=defect)

    assert frozenset() == result.broken, result.output
    assert {fails} == result.failed, result.output
    assert {DEEP, TOO_DEEP} - {fails} == result.passed


def test_every_test_is_turned_red() -> None:
    """Each test of the suite is failed by one of the defects."""
    written = set(re.findall(r"^async def (test_\w+)", SUITE.read_text(), re.MULTILINE))

    assert written == {name.partition("[")[0] for _, fails in FAILS.values() for name in fails}
