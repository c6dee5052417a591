"""The WebSocket frames of the backend: what a client may send, and what it is sent.

Events of a thread are `contracts.context.carriers.websocket` envelopes.
"""

from __future__ import annotations

from typing import Final, Literal

from contracts.context import ThreadId
from services.backend.domain import SentMessage
from services.runtime.errors import ServiceError
from services.runtime.text import Content, Name, Sequence64
from services.runtime.websocket_frames import (
    Authenticate,
    ClientFrame,
    FrameRegistry,
)

ServerFrame = dict[str, str | int]


class Subscribe(ClientFrame):
    """Asks for the thread's events: those after a sequence number, else those from now on."""

    type: Literal["subscribe"]
    thread_id: Name
    after_sequence: Sequence64 | None = None


class Unsubscribe(ClientFrame):
    """Asks for no more of the thread's events."""

    type: Literal["unsubscribe"]
    thread_id: Name


class AgentRequest(ClientFrame):
    """Sends a message to the thread's agent, and subscribes to the thread before that.

    `run_id` continues a run of this thread; without one another is opened.
    """

    type: Literal["agent_request"]
    thread_id: Name
    message: Content
    run_id: Name | None = None


class Ping(ClientFrame):
    """Asks whether the server still listens."""

    type: Literal["ping"]


ConversationFrame = Subscribe | Unsubscribe | AgentRequest | Ping

CONVERSATION: Final[FrameRegistry[ConversationFrame]] = FrameRegistry(
    {
        "subscribe": Subscribe,
        "unsubscribe": Unsubscribe,
        "agent_request": AgentRequest,
        "ping": Ping,
    }
)

# Every frame that the backend reads, that before authentication included.
CLIENT_FRAMES: Final[dict[str, type[ClientFrame]]] = {
    "authenticate": Authenticate,
    **CONVERSATION.frames,
}


def subscribed(thread_id: ThreadId, head_sequence: int) -> ServerFrame:
    """The thread's events follow; its newest was this one."""
    return {"type": "subscribed", "thread_id": thread_id, "head_sequence": head_sequence}


def unsubscribed(thread_id: ThreadId) -> ServerFrame:
    """No more of the thread's events follow."""
    return {"type": "unsubscribed", "thread_id": thread_id}


def acknowledged(sent: SentMessage) -> ServerFrame:
    """The message is committed; `sequence` is that of its run's last event."""
    return {
        "type": "acknowledged",
        "thread_id": sent.message.thread_id,
        "run_id": sent.message.run_id,
        "request_id": sent.request_id,
        "sequence": sent.sequence,
    }


def pong() -> ServerFrame:
    """The server still listens."""
    return {"type": "pong"}


def error(reason: ServiceError, request_id: str) -> ServerFrame:
    """A frame was refused or failed; the connection goes on."""
    return {
        "type": "error",
        "code": reason.code.name,
        "message": reason.message,
        "request_id": request_id,
    }
