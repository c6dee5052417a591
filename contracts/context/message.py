"""The context as a protobuf message, and as bytes of at most 1 KiB."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from contracts.context.attributes import Attributes
from contracts.context.context import UserExecutionContext
from contracts.context.errors import ContextMalformed, ContextMissing, ContextOversized
from contracts.context.identifiers import (
    ClientLabel,
    RequestId,
    RunId,
    TenantId,
    ThreadId,
    UserId,
)
from contracts.context.scopes import parse_scopes
from watertight.context.v1.context_pb2 import ExecutionContext

MAXIMUM_CONTEXT_BYTES: Final = 1024


def to_message(context: UserExecutionContext) -> ExecutionContext:
    """The message that says the same; times lose what is below a microsecond."""
    message = ExecutionContext(
        tenant_id=context.tenant_id,
        user_id=context.user_id,
        thread_id=context.thread_id,
        run_id=context.run_id,
        request_id=context.request_id,
        parent_request_id=context.parent_request_id,
        operation_depth=context.operation_depth,
        websocket_client_id=context.websocket_client_id,
        scopes=sorted(context.scopes),
        attributes=dict(context.attributes),
    )
    message.issued_at.FromDatetime(context.issued_at)
    message.expires_at.FromDatetime(context.expires_at)
    return message


def from_message(message: ExecutionContext) -> UserExecutionContext:
    """The context that a message says.

    Raises:
        ContextError: a field is absent, refused, or contradicts another.
    """

    def present(name: str) -> str | None:
        return getattr(message, name) if message.HasField(name) else None  # type: ignore[arg-type]

    thread_id = present("thread_id")
    run_id = present("run_id")
    parent_request_id = present("parent_request_id")
    websocket_client_id = present("websocket_client_id")
    return UserExecutionContext(
        tenant_id=TenantId(message.tenant_id),
        user_id=UserId(message.user_id),
        thread_id=None if thread_id is None else ThreadId(thread_id),
        run_id=None if run_id is None else RunId(run_id),
        request_id=RequestId(message.request_id),
        parent_request_id=None if parent_request_id is None else RequestId(parent_request_id),
        operation_depth=message.operation_depth,
        websocket_client_id=(
            None if websocket_client_id is None else ClientLabel(websocket_client_id)
        ),
        scopes=parse_scopes(message.scopes),
        issued_at=_time(message, "issued_at"),
        expires_at=_time(message, "expires_at"),
        attributes=Attributes(message.attributes),
    )


def _time(message: ExecutionContext, name: str) -> datetime:
    if not message.HasField(name):  # type: ignore[arg-type]
        raise ContextMissing(name, "expected a time")
    value: Timestamp = getattr(message, name)
    try:
        return value.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise ContextMalformed(name, "expected a time between the years 1 and 9999") from error


def encode(context: UserExecutionContext) -> bytes:
    """The message's bytes: the same context always gives the same.

    Raises:
        ContextOversized: over 1 KiB, which a context within its own limits never is.
    """
    encoded = to_message(context).SerializeToString(deterministic=True)
    _check_size(encoded)
    return encoded


def decode(encoded: bytes) -> UserExecutionContext:
    """The context that these bytes say.

    Raises:
        ContextError: they are too many, no message, or not a context's.
    """
    _check_size(encoded)
    if not encoded:
        raise ContextMissing("context", "expected a message, got no bytes")
    try:
        message = ExecutionContext.FromString(encoded)
    except DecodeError as error:
        raise ContextMalformed("context", "the bytes are no ExecutionContext message") from error
    return from_message(message)


def _check_size(encoded: bytes) -> None:
    if len(encoded) > MAXIMUM_CONTEXT_BYTES:
        raise ContextOversized(
            "context", f"expected at most {MAXIMUM_CONTEXT_BYTES} bytes, got {len(encoded)}"
        )
