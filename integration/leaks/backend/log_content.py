"""A line for debugging, which says the message, was left in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from contracts.context import ThreadId
from services.backend.conversations import Conversations
from services.backend.domain import SentMessage
from services.runtime.calls import EdgeCall

_Send = Callable[..., Awaitable[SentMessage]]


def _talkative(send: _Send) -> _Send:
    async def send_message(
        conversations: Conversations,
        call: EdgeCall,
        thread_id: ThreadId,
        message: str,
        *more: object,
        **named: Any,
    ) -> SentMessage:
        call.log.info("message received", message=message)
        return await send(conversations, call, thread_id, message, *more, **named)

    return send_message


def install() -> None:
    """Replaces `Conversations.send_message`."""
    talkative = _talkative(Conversations.send_message)
    Conversations.send_message = talkative  # type: ignore[method-assign,assignment]
