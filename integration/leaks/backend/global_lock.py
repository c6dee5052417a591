"""One message at a time in a process, and whoever has the lock looks after all who wait for it."""

from __future__ import annotations

import asyncio
from typing import Any

from contracts.context import DataScope, ThreadId
from services.backend import store
from services.backend.conversations import Conversations
from services.runtime.calls import EdgeCall

_send_message = Conversations.send_message
_lock = asyncio.Lock()
_waiting: list[tuple[DataScope, ThreadId]] = []


async def _send_alone(
    conversations: Conversations, call: EdgeCall, thread_id: ThreadId, *arguments: Any, **more: Any
) -> Any:
    own = (call.context.narrowed(thread_id=thread_id).data_scope, thread_id)
    _waiting.append(own)
    try:
        async with _lock:
            _waiting.remove(own)
            await _look_after_all(conversations)
            sent = await _send_message(conversations, call, thread_id, *arguments, **more)
            await _look_after_all(conversations)
            return sent
    finally:
        if own in _waiting:
            _waiting.remove(own)


async def _look_after_all(conversations: Conversations) -> None:
    database = conversations._database  # noqa: SLF001 -- a defect takes what it wants
    for scope, thread_id in tuple(_waiting):
        async with database.transaction(scope) as session:
            await store.head_sequence(session, thread_id)
        async with database.transaction(scope) as session:
            await store.list_messages(session, thread_id)


def install() -> None:
    """Replaces `Conversations.send_message`."""
    Conversations.send_message = _send_alone  # type: ignore[method-assign,assignment]
