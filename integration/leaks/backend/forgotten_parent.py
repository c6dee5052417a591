"""A hop forgets which request it was made for, and how deep it is."""

from __future__ import annotations

from dataclasses import replace

from contracts.context import RequestId, UserExecutionContext


def _child(context: UserExecutionContext, request_id: RequestId) -> UserExecutionContext:
    """A context like any other, as if it came from outside."""
    return replace(context, request_id=request_id)


def install() -> None:
    """Replaces `UserExecutionContext.child`."""
    UserExecutionContext.child = _child  # type: ignore[method-assign,assignment]
