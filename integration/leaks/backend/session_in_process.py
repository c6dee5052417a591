"""Each process remembers by itself which run a thread is in, and asks nobody."""

from __future__ import annotations

from typing import Any

from contracts.context import Principal, RunId, ThreadId, UserExecutionContext
from services.runtime.calls import new_id
from services.runtime.sessions import SessionStore

_opened = SessionStore.open
_runs: dict[tuple[str, str, str], RunId] = {}


async def _open(
    store: SessionStore,
    principal: Principal,
    thread_id: ThreadId,
    run_id: RunId | None = None,
    **more: Any,
) -> UserExecutionContext:
    thread = (principal.tenant_id, principal.user_id, thread_id)
    # Whoever comes first at this process makes the run up; a later one of the thread is not seen.
    run_id = _runs.setdefault(thread, run_id or RunId(new_id()))
    return await _opened(store, principal, thread_id, run_id, **more)


def install() -> None:
    """Replaces `SessionStore.open`."""
    SessionStore.open = _open  # type: ignore[method-assign,assignment]
