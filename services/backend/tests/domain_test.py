"""The agent, and what titles, messages and sequence numbers may be."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from contracts.context import RequestId, RunId, ThreadId
from contracts.context.carriers.websocket import EVENT_TYPES, read_envelope
from services.backend.agent import run_agent
from services.backend.announcements import decode_head, encode_head
from services.backend.domain import (
    MAXIMUM_TITLE_BYTES,
    Event,
    require_message,
    require_sequence,
    require_title,
)
from services.runtime.errors import InvalidArgument


def test_the_agent_quotes_and_is_deterministic() -> None:
    """Its steps are the protocol's events, in order; the same message gives the same run."""
    run = run_agent("hello")

    assert run == run_agent("hello")
    assert EVENT_TYPES == tuple(step.type for step in run.steps)
    assert "You said: hello" == run.reply == run.steps[-1].content


def test_an_event_is_its_envelope() -> None:
    """An event's frame is read back by the carrier that contracts define."""
    event = Event(
        sequence=1,
        type="agent_started",
        thread_id=ThreadId("t"),
        run_id=RunId("r"),
        request_id=RequestId("q"),
        content="",
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
    )

    assert event.envelope() == read_envelope(event.envelope().to_json())


def test_titles_are_one_line() -> None:
    """A title has up to 256 bytes and no line break; a message may have any number of lines."""
    assert "x" * MAXIMUM_TITLE_BYTES == require_title("x" * MAXIMUM_TITLE_BYTES)
    assert "a\nb" == require_message("a\nb")
    for title in ("", "a\nb", "x" * (MAXIMUM_TITLE_BYTES + 1)):
        with pytest.raises(InvalidArgument):
            require_title(title)


def test_sequence_numbers_fit_into_a_bigint() -> None:
    """From 0, before the first event, to 2^63 - 1."""
    for number in (0, 1, 2**63 - 1):
        assert number == require_sequence(number)
    for number in (-1, 2**63):
        with pytest.raises(InvalidArgument):
            require_sequence(number)


@pytest.mark.parametrize("payload", [b"", b"x", b"-1", b"1" * 5_000, b"\xff", b"1 "])
def test_a_wake_up_that_says_no_head_makes_one_look(payload: bytes) -> None:
    """A payload is a hint: what it does not say is looked up."""
    assert decode_head(payload) is None
    assert 17 == decode_head(encode_head(17))
