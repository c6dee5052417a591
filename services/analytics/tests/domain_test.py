from __future__ import annotations

import pytest

from services.analytics.domain import MAXIMUM_CHARACTERS, Usage
from services.analytics.tests.stage import context, event
from services.runtime.errors import InvalidArgument, PermissionDenied
from watertight.events.v1.usage_pb2 import UsageEvent


def test_event_says_what_its_run_consumed() -> None:
    """The usage has the event's figures and the context's thread and run."""
    of = context()
    usage = Usage.of(event(of, "usage-1", (0, MAXIMUM_CHARACTERS)), of)

    assert ("usage-1", of.thread_id, of.run_id) == (
        usage.usage_id,
        usage.thread_id,
        usage.run_id,
    )
    assert (0, MAXIMUM_CHARACTERS) == (usage.input_characters, usage.output_characters)


@pytest.mark.parametrize("field", ["thread_id", "run_id"])
def test_event_of_another_place_is_refused(field: str) -> None:
    """A context tells of its own thread and run, and of no others."""
    of = context()
    told = event(of)
    setattr(told, field, "another")
    with pytest.raises(PermissionDenied):
        Usage.of(told, of)


def test_context_in_no_run_tells_nothing() -> None:
    """Without a thread and a run there is nothing to attribute usage to."""
    with pytest.raises(PermissionDenied):
        Usage.of(event(context()), context(thread=None))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("usage_id", ""),
        ("usage_id", "x" * 65),
        ("usage_id", "null"),
        ("usage_id", "a\nb"),
        ("input_characters", -1),
        ("output_characters", MAXIMUM_CHARACTERS + 1),
        ("output_characters", -(2**63)),
    ],
)
def test_figures_out_of_range_are_refused(field: str, value: object) -> None:
    """The refusal names the field, and does not quote the value."""
    of = context()
    told = event(of)
    setattr(told, field, value)
    with pytest.raises(InvalidArgument) as refused:
        Usage.of(told, of)

    assert field in refused.value.message
    assert not str(value) or str(value) not in refused.value.message


def test_time_is_needed_and_in_range() -> None:
    """An event without a time, or of a time that no calendar has, is refused."""
    of = context()
    absent = event(of)
    absent.ClearField("occurred_at")
    beyond = event(of)
    beyond.occurred_at.seconds = 2**60
    for told in (absent, beyond, UsageEvent(thread_id=of.thread_id or "", run_id=of.run_id or "")):
        with pytest.raises(InvalidArgument):
            Usage.of(told, of)
