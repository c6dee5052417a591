"""WebSocket frames: each event names its thread, run and request, and its sequence number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from contracts.context.errors import ContextMalformed, ContextMissing
from contracts.context.identifiers import RequestId, RunId, ThreadId

EVENT_TYPES: Final = (
    "agent_started",
    "agent_thinking",
    "tool_executing",
    "tool_completed",
    "agent_completed",
)


@dataclass(frozen=True, slots=True)
class EventEnvelope:
    """One event of a thread. `sequence` counts from 1 within the thread, without gaps."""

    type: str
    thread_id: ThreadId
    run_id: RunId
    request_id: RequestId
    sequence: int
    content: str
    created_at: str

    def to_json(self) -> dict[str, str | int]:
        """The frame's fields."""
        return {
            "type": self.type,
            "thread_id": str(self.thread_id),
            "run_id": str(self.run_id),
            "request_id": str(self.request_id),
            "sequence": self.sequence,
            "content": self.content,
            "created_at": self.created_at,
        }


def read_envelope(frame: Mapping[str, object]) -> EventEnvelope:
    """The event in a frame.

    Raises:
        ContextMissing: a field is absent.
        ContextMalformed: a field is of another type, or the sequence number is not positive.
        InvalidIdentifier: an identifier is refused.
    """
    for name in ("type", "thread_id", "run_id", "request_id", "sequence", "content", "created_at"):
        if name not in frame:
            raise ContextMissing(name, "expected in every event frame")
    sequence = frame["sequence"]
    if type(sequence) is not int or sequence < 1:
        raise ContextMalformed("sequence", "expected a whole number from 1")
    texts = {name: frame[name] for name in ("type", "content", "created_at")}
    for name, value in texts.items():
        if not isinstance(value, str):
            raise ContextMalformed(name, "expected a string")
    if texts["type"] not in EVENT_TYPES:
        raise ContextMalformed("type", f"expected one of {', '.join(EVENT_TYPES)}")
    return EventEnvelope(
        type=str(texts["type"]),
        thread_id=ThreadId(_text(frame, "thread_id")),
        run_id=RunId(_text(frame, "run_id")),
        request_id=RequestId(_text(frame, "request_id")),
        sequence=sequence,
        content=str(texts["content"]),
        created_at=str(texts["created_at"]),
    )


def _text(frame: Mapping[str, object], name: str) -> str:
    value = frame[name]
    if not isinstance(value, str):
        raise ContextMalformed(name, "expected a string")
    return value
