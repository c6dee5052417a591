"""The typed results of the system's operations, the same over HTTP and gRPC."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, PrivateAttr, ValidationError

from contracts.context import ContextError, RunId, TenantId, ThreadId, UserId
from contracts.context.carriers.websocket import EventEnvelope, read_envelope
from integration.clients.answers import Answer, Unexpected

# Identifiers are checked as strictly as a service checks them.
_TenantId = Annotated[TenantId, BeforeValidator(TenantId)]
_UserId = Annotated[UserId, BeforeValidator(UserId)]
_ThreadId = Annotated[ThreadId, BeforeValidator(ThreadId)]
_RunId = Annotated[RunId, BeforeValidator(RunId)]
_Event = Annotated[EventEnvelope, BeforeValidator(read_envelope)]


class _Value(BaseModel):
    """Fields that a client does not know are left alone, so that a service may add some."""

    model_config = ConfigDict(frozen=True, extra="ignore", arbitrary_types_allowed=True)


class Result(_Value):
    """What an operation gave; `answer` is how it came over the wire."""

    _answer: Answer = PrivateAttr()

    @property
    def answer(self) -> Answer:
        """The answer that this result was read from."""
        return self._answer

    @classmethod
    def from_json(cls, answer: Answer) -> Self:
        """Reads an answer whose body is JSON.

        Raises:
            Unexpected: the body is not this result's.
        """
        try:
            result = cls.model_validate_json(answer.body)
        except (ValidationError, ContextError) as error:
            raise Unexpected(f"a {cls.__name__}", answer) from error
        result._answer = answer  # noqa: SLF001 -- its own class
        return result

    @classmethod
    def from_fields(cls, answer: Answer, **fields: object) -> Self:
        """Makes it of fields that a message held.

        Raises:
            Unexpected: a field is not as the contract says.
        """
        try:
            result = cls.model_validate(fields)
        except (ValidationError, ContextError) as error:
            raise Unexpected(f"a {cls.__name__}", answer) from error
        result._answer = answer  # noqa: SLF001 -- its own class
        return result


class CreatedTenant(Result):
    """A tenant and its first user, who administers it."""

    tenant_id: _TenantId
    user_id: _UserId


class CreatedUser(Result):
    """A user of the calling administrator's tenant."""

    user_id: _UserId


class Session(Result):
    """A log-in: what its owner needs for everything else. `expires_in` is in seconds."""

    access_token: str
    token_type: str
    expires_in: int
    refresh_token: str
    user_id: _UserId
    tenant_id: _TenantId


class Thread(_Value):
    """One conversation."""

    thread_id: _ThreadId
    title: str
    created_at: datetime


class CreatedThread(Result):
    """The conversation that was made."""

    thread_id: _ThreadId
    title: str
    created_at: datetime


class Threads(Result):
    """The caller's conversations."""

    threads: tuple[Thread, ...]


class Message(_Value):
    """One message of a conversation, by its user or by the agent."""

    message_id: str
    thread_id: _ThreadId
    run_id: _RunId
    role: Literal["user", "agent"]
    content: str
    created_at: datetime


class Messages(Result):
    """A conversation's messages, oldest first."""

    messages: tuple[Message, ...]


class SentMessage(Result):
    """A committed message and the agent's reply; `sequence` is the run's last event's."""

    message: Message
    reply: Message
    sequence: int


class Events(Result):
    """A conversation's events after a sequence number, and the newest number there is."""

    events: tuple[_Event, ...]
    head_sequence: int


class ThreadSession(Result):
    """The run that a conversation is in, and its newest event's sequence number."""

    thread_id: _ThreadId
    run_id: _RunId
    head_sequence: int


class ThreadUsage(Result):
    """What the runs of one conversation consumed."""

    thread_id: _ThreadId
    runs: int
    input_characters: int
    output_characters: int


class TenantTotals(Result):
    """What all runs of one tenant consumed, and how many of its users had any."""

    runs: int
    input_characters: int
    output_characters: int
    active_users: int


class Ticket(Result):
    """A single-use admission to one WebSocket, for `expires_in` seconds."""

    ticket: str
    expires_in: int
