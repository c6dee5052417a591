"""Carriers write a context into a channel and read back exactly one, or refuse by a typed error."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given

from contracts.context import (
    ContextDuplicated,
    ContextError,
    ContextExpired,
    ContextMalformed,
    ContextMissing,
    ContextOversized,
    ContextWidened,
    InvalidIdentifier,
    RequestId,
    RunId,
    Scope,
    SessionId,
    TenantId,
    ThreadId,
    UserExecutionContext,
    UserId,
    encode,
)
from contracts.context.carriers.confirmation import (
    Confirmation,
    Outcome,
    confirmation_of,
    read_confirmation,
    write_confirmation,
)
from contracts.context.carriers.edge import read_bearer
from contracts.context.carriers.entry import make_usage_entry, read_entry, write_entry
from contracts.context.carriers.hop import (
    CONTEXT_KEY,
    TRANSACTION_TOKEN_KEY,
    TransactionClaims,
    read_hop,
    require_same_principal,
    write_hop,
)
from contracts.context.carriers.log import log_fields
from contracts.context.carriers.trace import TraceParent, read_traceparent
from contracts.context.carriers.websocket import EventEnvelope, read_envelope
from contracts.context.tests.strategies import contexts
from watertight.events.v1.usage_pb2 import UsageEvent

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONTEXT = UserExecutionContext(
    tenant_id=TenantId("t"),
    user_id=UserId("u"),
    thread_id=ThreadId("th"),
    run_id=RunId("r"),
    request_id=RequestId("q"),
    scopes=frozenset({Scope.USAGE_WRITE}),
    issued_at=NOW,
    expires_at=NOW + timedelta(minutes=1),
)
CLAIMS = TransactionClaims(
    transaction_id="q",
    tenant_id=CONTEXT.tenant_id,
    user_id=CONTEXT.user_id,
    session_id=SessionId("s"),
    thread_id=CONTEXT.thread_id,
    run_id=CONTEXT.run_id,
    scopes=CONTEXT.scopes,
    workload="backend",
    expires_at=CONTEXT.expires_at,
)


def test_one_bearer_token_is_read() -> None:
    """The token of the one Authorization header is read, whatever the letter case of the scheme."""
    assert "abc.d-e_f" == read_bearer([("Authorization", b"bearer abc.d-e_f"), ("x-user-id", b"u")])


@pytest.mark.parametrize(
    ("pairs", "error"),
    [
        ([], ContextMissing),
        ([("authorization", "Bearer a"), ("Authorization", "Bearer b")], ContextDuplicated),
        ([("authorization", "Basic a")], ContextMalformed),
        ([("authorization", "Bearer ")], ContextMalformed),
        ([("authorization", "Bearer a b")], ContextMalformed),
        ([("authorization", "Bearer a, Bearer b")], ContextMalformed),
        ([("authorization", "Bearer " + "a" * 4096)], ContextOversized),
    ],
)
def test_other_credentials_are_refused(
    pairs: list[tuple[str, str | bytes]], error: type[ContextError]
) -> None:
    """No token, two, another scheme or too much of one is refused."""
    with pytest.raises(error):
        read_bearer(pairs)


@given(contexts())
def test_a_hop_carries_the_context(context: UserExecutionContext) -> None:
    """What one side writes into the metadata is what the other side reads."""
    assert ("token", context) == read_hop(write_hop(context, "token"))


@pytest.mark.parametrize(
    ("pairs", "error"),
    [
        ([], ContextMissing),
        ([(TRANSACTION_TOKEN_KEY, "a")], ContextMissing),
        ([(CONTEXT_KEY, encode(CONTEXT))], ContextMissing),
        ([*write_hop(CONTEXT, "a"), (TRANSACTION_TOKEN_KEY, "b")], ContextDuplicated),
        ([*write_hop(CONTEXT, "a"), (CONTEXT_KEY, encode(CONTEXT))], ContextDuplicated),
        ([(TRANSACTION_TOKEN_KEY, "a" * 4097), (CONTEXT_KEY, encode(CONTEXT))], ContextOversized),
        ([(TRANSACTION_TOKEN_KEY, "a"), (CONTEXT_KEY, b"\xff" * 8)], ContextMalformed),
        ([(TRANSACTION_TOKEN_KEY, "a"), (CONTEXT_KEY, b"x" * 1025)], ContextOversized),
        ([(TRANSACTION_TOKEN_KEY, "a"), (CONTEXT_KEY, "text")], ContextMalformed),
    ],
)
def test_incomplete_hops_are_refused(
    pairs: list[tuple[str, str | bytes]], error: type[ContextError]
) -> None:
    """A hop without exactly one token and one readable context is refused."""
    with pytest.raises(error):
        read_hop(pairs)


@pytest.mark.parametrize(
    "changes",
    [
        {"tenant_id": TenantId("other")},
        {"user_id": UserId("other")},
        {"thread_id": ThreadId("other")},
        {"thread_id": None},
        {"run_id": RunId("other")},
        {"scopes": frozenset()},
        {"expires_at": NOW},
    ],
)
def test_a_context_is_no_wider_than_its_token(changes: dict[str, object]) -> None:
    """The token of one with the context of another is refused, and so is any claim beyond it."""
    require_same_principal(CONTEXT, CLAIMS)
    with pytest.raises(ContextWidened):
        require_same_principal(CONTEXT, dataclasses.replace(CLAIMS, **changes))  # type: ignore[arg-type]


def _event(**changes: str) -> UsageEvent:
    return UsageEvent(**({"usage_id": "x", "thread_id": "th", "run_id": "r"} | changes))  # type: ignore[arg-type]


def test_an_entry_keeps_its_context_after_expiry() -> None:
    """At rest a context stays readable: it was valid when it was enqueued, and that is enough."""
    entry = make_usage_entry(CONTEXT, _event(), "", NOW)
    fields = {name.encode(): value for name, value in write_entry(entry).items()}

    assert (CONTEXT, entry) == read_entry(fields)


@pytest.mark.parametrize(
    ("event", "now", "error"),
    [
        (_event(), NOW + timedelta(minutes=1), ContextExpired),
        (_event(thread_id="other"), NOW, ContextMalformed),
        (_event(run_id="other"), NOW, ContextMalformed),
        (_event(usage_id=""), NOW, ContextMissing),
    ],
)
def test_nothing_is_enqueued_under_a_context_that_does_not_fit(
    event: UsageEvent, now: datetime, error: type[ContextError]
) -> None:
    """An expired context, or an event of another thread or run, makes no entry."""
    with pytest.raises(error):
        make_usage_entry(CONTEXT, event, "", now)


@pytest.mark.parametrize(
    "fields", [{}, {b"entry": b""}, {b"entry": b"\xff"}, {b"entry": b"x" * 5000}, {b"other": b"1"}]
)
def test_malformed_entries_are_refused(fields: dict[bytes, bytes]) -> None:
    """An entry that cannot be read is refused by a typed error."""
    with pytest.raises(ContextError):
        read_entry(fields)


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


def test_a_confirmation_names_the_entrys_own_usage() -> None:
    """What was written is read back, and holds identifiers alone."""
    entry = make_usage_entry(CONTEXT, UsageEvent(usage_id="x", thread_id="th", run_id="r"), "", NOW)
    confirmation = confirmation_of(
        {name.encode(): value for name, value in write_entry(entry).items()}, Outcome.STORED
    )
    assert confirmation is not None
    fields = write_confirmation(confirmation)

    assert {"tenant_id": "t", "user_id": "u", "usage_id": "x", "outcome": "stored"} == fields
    assert Confirmation(TenantId("t"), UserId("u"), "x", Outcome.STORED) == read_confirmation(
        {name.encode(): value.encode() for name, value in fields.items()}
    )


@pytest.mark.parametrize(
    "fields", [{}, {b"entry": b""}, {b"entry": b"\xff"}, {b"entry": b"x" * 5000}, {b"other": b"x"}]
)
def test_an_entry_that_does_not_say_whose_it_is_is_not_confirmed(
    fields: dict[bytes, bytes],
) -> None:
    """There is nobody to tell."""
    assert confirmation_of(fields, Outcome.DEAD) is None


@pytest.mark.parametrize("name", [b"tenant_id", b"user_id", b"usage_id", b"outcome"])
@pytest.mark.parametrize("value", [None, b"", b"\xff", b"x" * 65, b"a\0b"])
def test_malformed_confirmations_are_refused(name: bytes, value: bytes | None) -> None:
    """Each field must be there and be what it says."""
    sound = {b"tenant_id": b"t", b"user_id": b"u", b"usage_id": b"x", b"outcome": b"stored"}
    fields = {key: field for key, field in sound.items() if key != name}
    with pytest.raises(ContextError):
        read_confirmation(fields if value is None else {**fields, name: value})


def test_a_trace_is_continued() -> None:
    """A valid traceparent is read, and written the same."""
    text = f"00-{TRACE}-{SPAN}-03"
    parent = read_traceparent([("Traceparent", text)])

    assert TraceParent(TRACE, SPAN, 3) == parent
    assert text == str(parent)


@pytest.mark.parametrize(
    "values",
    [
        [],
        [f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01"],
        [f"00-{TRACE.upper()}-{SPAN}-01"],
        [f"ff-{TRACE}-{SPAN}-01"],
        [f"00-{'0' * 32}-{SPAN}-01"],
        [f"00-{TRACE}-{'0' * 16}-01"],
        [f"00-{TRACE}-{SPAN}-01-more"],
        [f"00-{TRACE}-{SPAN}-1"],
        [""],
    ],
)
def test_other_traceparents_start_a_new_trace(values: list[str]) -> None:
    """An absent, repeated or malformed traceparent is ignored, as the standard asks."""
    assert read_traceparent([("traceparent", value) for value in values]) is None


def test_later_versions_are_continued() -> None:
    """A future version with more behind the flags is read by what is known of it."""
    assert read_traceparent([("traceparent", f"cc-{TRACE}-{SPAN}-01-what-comes")]) is not None


def test_log_lines_hold_identifiers_only() -> None:
    """A log line says all identifiers of the context and none of its attributes."""
    context = dataclasses.replace(CONTEXT, attributes={"note": "content"})  # type: ignore[arg-type]

    assert {
        "tenant_id": "t",
        "user_id": "u",
        "thread_id": "th",
        "run_id": "r",
        "request_id": "q",
        "operation_depth": 0,
    } == log_fields(context)


ENVELOPE = EventEnvelope(
    type="agent_started",
    thread_id=ThreadId("th"),
    run_id=RunId("r"),
    request_id=RequestId("q"),
    sequence=1,
    content="",
    created_at="2026-01-01T00:00:00Z",
)


def test_an_event_frame_is_read_back() -> None:
    """What is written into a frame is what is read from it."""
    assert ENVELOPE == read_envelope(ENVELOPE.to_json())


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"sequence": 0}, ContextMalformed),
        ({"sequence": True}, ContextMalformed),
        ({"sequence": "1"}, ContextMalformed),
        ({"type": "other"}, ContextMalformed),
        ({"content": None}, ContextMalformed),
        ({"thread_id": 7}, ContextMalformed),
        ({"thread_id": ""}, InvalidIdentifier),
    ],
)
def test_malformed_event_frames_are_refused(
    changes: dict[str, object], error: type[ContextError]
) -> None:
    """A frame with a field of another type, or an unknown event, is refused."""
    with pytest.raises(error):
        read_envelope(ENVELOPE.to_json() | changes)


@pytest.mark.parametrize("name", list(ENVELOPE.to_json()))
def test_incomplete_event_frames_are_refused(name: str) -> None:
    """A frame that lacks any field is refused."""
    frame = ENVELOPE.to_json()
    del frame[name]

    with pytest.raises(ContextMissing, match=name):
        read_envelope(frame)
