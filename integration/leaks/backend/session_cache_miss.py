"""A session that Redis does not remember is taken for one that never was."""

from __future__ import annotations

from typing import Any

from contracts.context import DataScope, Principal, RunId, ThreadId, UserExecutionContext
from services.runtime import sessions
from services.runtime.calls import new_id
from services.runtime.sessions import SessionStore

_opened = SessionStore.open


async def _open(
    store: SessionStore,
    principal: Principal,
    thread_id: ThreadId,
    run_id: RunId | None = None,
    **more: Any,
) -> UserExecutionContext:
    scope = DataScope.thread(principal.tenant_id, principal.user_id, thread_id)
    held = await store._redis.get_version(sessions._NAMESPACE, scope)  # noqa: SLF001 -- a defect takes what it wants
    if run_id is None and held is None:
        run_id = RunId(new_id())
    return await _opened(store, principal, thread_id, run_id, **more)


def install() -> None:
    """Replaces `SessionStore.open`."""
    SessionStore.open = _open  # type: ignore[method-assign,assignment]
