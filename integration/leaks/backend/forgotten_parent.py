"""A hop forgets which request and which span it was made for, and how deep it is."""

from __future__ import annotations

from dataclasses import replace

from contracts.context import RequestId, UserExecutionContext
from contracts.context.carriers.hop import Metadata
from contracts.context.carriers.trace import TraceParent
from services.runtime import channels, grpc_client
from services.runtime.calls import new_id

_SPAN_DIGITS = 16


def _child(context: UserExecutionContext, request_id: RequestId) -> UserExecutionContext:
    """A context like any other, as if it came from outside."""
    return replace(context, request_id=request_id)


def _traced(trace: TraceParent | None) -> Metadata:
    """The trace, by a span that nobody has begun."""
    return channels.traced(trace and replace(trace, span_id=new_id()[:_SPAN_DIGITS]))


def install() -> None:
    """Replaces `UserExecutionContext.child`, and the `traced` that hops are made with."""
    UserExecutionContext.child = _child  # type: ignore[method-assign,assignment]
    grpc_client.traced = _traced  # type: ignore[attr-defined]  # imported there
