"""The JSON bodies of the backend's HTTP interface, and what they say of the domain."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field

from services.backend.domain import (
    MAXIMUM_TITLE_BYTES,
    EventPage,
    Message,
    SentMessage,
    Thread,
    ThreadSession,
    ThreadUsage,
)
from services.backend.tickets import Ticket
from services.runtime.text import Content, Name, RequestBody


class NewThread(RequestBody):
    """The title of a thread to create."""

    title: Annotated[str, Field(min_length=1, max_length=MAXIMUM_TITLE_BYTES)]


class NewMessage(RequestBody):
    """A message to the thread's agent; `run_id` continues a run of it, else another is opened."""

    message: Content
    run_id: Name | None = None


class ThreadBody(BaseModel):
    """One thread."""

    thread_id: str
    title: str
    created_at: datetime

    @classmethod
    def of(cls, thread: Thread) -> Self:
        """The body that says this thread."""
        return cls(thread_id=thread.thread_id, title=thread.title, created_at=thread.created_at)


class ThreadList(BaseModel):
    """The caller's newest 1,000 threads, oldest first."""

    threads: list[ThreadBody]


class MessageBody(BaseModel):
    """One entry of a transcript."""

    message_id: str
    thread_id: str
    run_id: str
    role: Literal["user", "agent"]
    content: str
    created_at: datetime

    @classmethod
    def of(cls, message: Message) -> Self:
        """The body that says this message."""
        return cls(
            message_id=message.message_id,
            thread_id=message.thread_id,
            run_id=message.run_id,
            role=message.role.value,
            content=message.content,
            created_at=message.created_at,
        )


class SessionBody(BaseModel):
    """A thread's session: `run_id` continues it, `head_sequence` is where its events end."""

    thread_id: str
    run_id: str
    head_sequence: int

    @classmethod
    def of(cls, session: ThreadSession) -> Self:
        """The body that says this session."""
        return cls(
            thread_id=session.thread_id,
            run_id=session.run_id,
            head_sequence=session.head_sequence,
        )


class MessageList(BaseModel):
    """The thread's newest messages, oldest first: at most 5,000, and 3 MiB of content."""

    messages: list[MessageBody]


class SentBody(BaseModel):
    """An acknowledged message, the agent's reply, and the sequence number of the last event."""

    message: MessageBody
    reply: MessageBody
    sequence: int

    @classmethod
    def of(cls, sent: SentMessage) -> Self:
        """The body that says this message."""
        return cls(
            message=MessageBody.of(sent.message),
            reply=MessageBody.of(sent.reply),
            sequence=sent.sequence,
        )


class EventBody(BaseModel):
    """One event, as it stands in a WebSocket frame."""

    type: str
    thread_id: str
    run_id: str
    request_id: str
    sequence: int
    content: str
    created_at: str


class EventList(BaseModel):
    """The first events after a sequence number; where the last is not the head, there are more."""

    events: list[EventBody]
    head_sequence: int

    @classmethod
    def of(cls, page: EventPage) -> Self:
        """The body that says these events."""
        return cls(
            events=[EventBody.model_validate(event.envelope().to_json()) for event in page.events],
            head_sequence=page.head_sequence,
        )


class UsageBody(BaseModel):
    """What a thread's runs consumed."""

    thread_id: str
    runs: int
    input_characters: int
    output_characters: int

    @classmethod
    def of(cls, usage: ThreadUsage) -> Self:
        """The body that says this usage."""
        return cls(
            thread_id=usage.thread_id,
            runs=usage.runs,
            input_characters=usage.input_characters,
            output_characters=usage.output_characters,
        )


class TicketBody(BaseModel):
    """A ticket for one WebSocket: `/ws?ticket=…` within so many seconds, once."""

    ticket: str
    expires_in: int

    @classmethod
    def of(cls, ticket: Ticket) -> Self:
        """The body that says this ticket."""
        return cls(ticket=ticket.value, expires_in=ticket.expires_in)
