"""Rows of the trail say the request and the trace of another operation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncSession

from contracts.context import RequestId, UserExecutionContext
from services.runtime.trail import Trail, TrailOutcome

_Record = Callable[..., Awaitable[None]]


def _shared(recorded: _Record) -> _Record:
    """One recorder for all requests, which holds the first one until it has written a row."""
    held: tuple[RequestId, str] | None = None

    async def record(
        trail: Trail,
        session: AsyncSession,
        context: UserExecutionContext,
        *,
        action: str,
        outcome: TrailOutcome,
        trace_id: str,
    ) -> None:
        nonlocal held
        own = (context.request_id, trace_id)
        (request_id, trace_id), held = held or own, own
        # The user stays right: the row's own policy would refuse any other.
        said = replace(context, request_id=request_id)
        await recorded(trail, session, said, action=action, outcome=outcome, trace_id=trace_id)

    return record


def install() -> None:
    """Replaces `Trail.record`."""
    Trail.record = _shared(Trail.record)  # type: ignore[method-assign,assignment]
