"""Spans hold what was said."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from services.backend import conversations
from services.backend.domain import Event, SentMessage
from services.runtime.calls import EdgeCall

_Ran = tuple[SentMessage, tuple[Event, ...]]
_Run = Callable[[EdgeCall, str, int, datetime], _Ran]


def _instrumented(run: _Run) -> _Run:
    """Says on the span what the model was asked and what it answered, as tools for that do."""

    def instrumented(call: EdgeCall, message: str, head: int, now: datetime) -> _Ran:
        ran = run(call, message, head, now)
        span = call.operation._span  # noqa: SLF001 -- a leak takes what it wants
        span.set_attribute("gen_ai.prompt.0.content", message)
        span.set_attribute("gen_ai.completion.0.content", ran[0].reply.content)
        return ran

    return instrumented


def install() -> None:
    """Replaces `conversations.make_run`."""
    conversations.make_run = _instrumented(conversations.make_run)  # type: ignore[assignment]
