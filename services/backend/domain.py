"""What the backend speaks of: threads, their messages and events, and what each may be made of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique
from typing import Final

from contracts.context import RequestId, RunId, ThreadId
from contracts.context.carriers.websocket import EventEnvelope
from services.runtime.errors import InvalidArgument
from services.runtime.text import MAXIMUM_CONTENT_BYTES, MAXIMUM_SEQUENCE, check_text

MAXIMUM_TITLE_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class Thread:
    """One conversation of a user."""

    thread_id: ThreadId
    title: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ThreadSession:
    """A thread's session: the run that it is in, and its newest event's sequence number."""

    thread_id: ThreadId
    run_id: RunId
    head_sequence: int


@unique
class MessageRole(StrEnum):
    """Who wrote a message."""

    USER = "user"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of a thread's transcript."""

    message_id: str
    thread_id: ThreadId
    run_id: RunId
    role: MessageRole
    content: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a thread. `sequence` counts from 1 in it, without gaps, in order of commit."""

    sequence: int
    type: str
    thread_id: ThreadId
    run_id: RunId
    request_id: RequestId
    content: str
    created_at: datetime

    def envelope(self) -> EventEnvelope:
        """The event as it stands in a WebSocket frame and in HTTP's answer."""
        return EventEnvelope(
            type=self.type,
            thread_id=self.thread_id,
            run_id=self.run_id,
            request_id=self.request_id,
            sequence=self.sequence,
            content=self.content,
            created_at=self.created_at.isoformat(),
        )


@dataclass(frozen=True, slots=True)
class SentMessage:
    """An acknowledged message: committed, with the agent's reply.

    `sequence` is that of the run's last event.
    """

    message: Message
    reply: Message
    request_id: RequestId
    sequence: int


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some of a thread's events in order, and the sequence number of its newest."""

    events: tuple[Event, ...]
    head_sequence: int


@dataclass(frozen=True, slots=True)
class ThreadUsage:
    """What a thread's runs consumed, as analytics tells it."""

    thread_id: ThreadId
    runs: int
    input_characters: int
    output_characters: int


def require_title(title: str) -> str:
    """The title, when it is one line of 1 to 256 bytes; else raises `InvalidArgument`."""
    return check_text("title", title, MAXIMUM_TITLE_BYTES, one_line=True)


def require_message(message: str) -> str:
    """The message, when it is text of 1 byte to 16 KiB; else raises `InvalidArgument`."""
    return check_text("message", message, MAXIMUM_CONTENT_BYTES)


def require_sequence(after_sequence: int) -> int:
    """The sequence number after which somebody wants events; 0 stands before the first.

    Raises:
        InvalidArgument: it is negative or over 2^63 - 1.
    """
    if not 0 <= after_sequence <= MAXIMUM_SEQUENCE:
        raise InvalidArgument(
            f"after_sequence: expected a whole number from 0 to {MAXIMUM_SEQUENCE}"
        )
    return after_sequence
