"""Contexts survive the wire unchanged, within 1 KiB, and nothing else is read as one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.context import (
    Attributes,
    ClientLabel,
    ContextError,
    ContextMalformed,
    ContextMissing,
    ContextOversized,
    InvalidIdentifier,
    RequestId,
    RunId,
    Scope,
    TenantId,
    ThreadId,
    UserExecutionContext,
    UserId,
    decode,
    encode,
    from_message,
    to_message,
)
from contracts.context.tests.strategies import contexts
from watertight.context.v1.context_pb2 import ExecutionContext


@given(contexts())
def test_encoding_is_lossless(context: UserExecutionContext) -> None:
    """Decoding gives the very context back."""
    assert context == decode(encode(context))


@given(contexts(), contexts())
def test_encoding_is_injective(one: UserExecutionContext, other: UserExecutionContext) -> None:
    """Two contexts have the same bytes exactly when they are equal."""
    assert (one == other) == (encode(one) == encode(other))


def test_every_field_of_the_message_is_carried() -> None:
    """No field of the message is left unset by a context that has everything, nor over 1 KiB."""
    largest = "x" * 64
    context = UserExecutionContext(
        tenant_id=TenantId(largest),
        user_id=UserId(largest),
        thread_id=ThreadId(largest),
        run_id=RunId(largest),
        request_id=RequestId(largest),
        parent_request_id=RequestId("y" * 64),
        operation_depth=10,
        websocket_client_id=ClientLabel(largest),
        scopes=frozenset(Scope),
        issued_at=datetime(2026, 1, 1, 1, 1, 1, 999_999, tzinfo=UTC),
        expires_at=datetime(9999, 1, 1, 1, 1, 1, 999_999, tzinfo=UTC),
        attributes=Attributes({f"{number:03}": "v" * 21 for number in range(12)}),
    )
    fields = {field.name for field, _ in to_message(context).ListFields()}

    assert {field.name for field in ExecutionContext.DESCRIPTOR.fields} == fields
    assert 1024 >= len(encode(context))


@given(st.binary(max_size=1100))
def test_arbitrary_bytes_are_refused_with_a_typed_error(encoded: bytes) -> None:
    """Bytes that are no context are refused by a ContextError and nothing else."""
    with pytest.raises(ContextError):
        decode(encoded)


@given(contexts(), st.data())
def test_damaged_bytes_are_refused_or_read_as_what_they_say(
    context: UserExecutionContext, data: st.DataObject
) -> None:
    """A changed byte gives a ContextError or another valid context, never another exception."""
    encoded = bytearray(encode(context))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read = decode(bytes(encoded))
    except ContextError:
        return

    assert isinstance(read, UserExecutionContext)


def _message(**changes: object) -> ExecutionContext:
    message = ExecutionContext(tenant_id="t", user_id="u", request_id="q", scopes=["threads:read"])
    message.issued_at.FromDatetime(datetime(2026, 1, 1, tzinfo=UTC))
    message.expires_at.FromDatetime(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=1))
    for name, value in changes.items():
        if value is None:
            message.ClearField(name)  # type: ignore[arg-type]
        elif isinstance(value, list):
            getattr(message, name)[:] = value
        else:
            setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"tenant_id": None}, InvalidIdentifier),
        ({"user_id": ""}, InvalidIdentifier),
        ({"thread_id": ""}, InvalidIdentifier),
        ({"user_id": "null"}, InvalidIdentifier),
        ({"run_id": "r"}, ContextMalformed),
        ({"scopes": ["threads:read", "everything"]}, ContextMalformed),
        ({"scopes": ["threads:read", "threads:read"]}, ContextMalformed),
        ({"expires_at": None}, ContextMissing),
    ],
)
def test_incomplete_messages_are_refused(
    changes: dict[str, object], error: type[ContextError]
) -> None:
    """A message with an absent, empty, unknown or contradicting field is refused by name."""
    from_message(_message())
    with pytest.raises(error):
        from_message(_message(**changes))


def test_times_out_of_range_are_refused() -> None:
    """A time beyond the year 9999 is malformed, not an overflow."""
    message = _message()
    message.expires_at.seconds = 2**62

    with pytest.raises(ContextMalformed, match="expires_at"):
        from_message(message)


def test_too_many_bytes_are_refused_unread() -> None:
    """More than 1 KiB is refused whatever it says."""
    message = _message()
    message.attributes["k"] = "v" * 1100

    with pytest.raises(ContextOversized):
        decode(message.SerializeToString())
