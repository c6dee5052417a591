"""What exists and is another's is forbidden; what does not exist is not found."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from contracts.context import ThreadId
from services.backend import store
from services.runtime.errors import PermissionDenied

_insert: Callable[..., Awaitable[None]] = store.insert_thread
_head: Callable[..., Awaitable[int | None]] = store.head_sequence
_known: set[ThreadId] = set()


async def _remember(session: Any, owner: Any, thread: Any) -> None:
    _known.add(thread.thread_id)
    await _insert(session, owner, thread)


async def _tell(session: Any, thread_id: ThreadId) -> int | None:
    head = await _head(session, thread_id)
    if head is None and thread_id in _known:
        raise PermissionDenied
    return head


def install() -> None:
    """Replaces `store.insert_thread` and `store.head_sequence`."""
    store.insert_thread = _remember
    store.head_sequence = _tell
