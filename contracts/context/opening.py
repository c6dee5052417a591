"""How a context is opened at the edge: for a principal, in a thread, in a run of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from contracts.context.attributes import Attributes
from contracts.context.context import UserExecutionContext
from contracts.context.errors import ContextExpired
from contracts.context.identifiers import (
    ClientLabel,
    RequestId,
    RunId,
    SessionId,
    TenantId,
    ThreadId,
    UserId,
)
from contracts.context.scopes import DataScope, Scope


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a verified access token speaks for, what it may do, and until when."""

    tenant_id: TenantId
    user_id: UserId
    session_id: SessionId
    scopes: frozenset[Scope]
    expires_at: datetime

    @property
    def data_scope(self) -> DataScope:
        """Everything of the user."""
        return DataScope.user(self.tenant_id, self.user_id)


@dataclass(frozen=True, slots=True)
class ThreadState:
    """What is stored of a thread's session: the run that it is in, if any."""

    current_run_id: RunId | None = None


def open_context(
    principal: Principal,
    thread: tuple[ThreadId, ThreadState] | None,
    run: RunId | None,
    *,
    now: datetime,
    new_id: Callable[[], str],
    websocket_client_id: ClientLabel | None = None,
    attributes: Attributes | None = None,
) -> UserExecutionContext:
    """Gets the context of a thread's session, and makes new only what there is not.

    Without `run` it is the thread's current run, or a new one where there is none; the current run
    continues, another is opened. The request is new each time, so passing a context's thread and
    run back in gives the same session. Without `thread` it is the user's context, in no run.

    Raises:
        ContextExpired: the principal is no longer valid.
    """
    if now >= principal.expires_at:
        raise ContextExpired("expires_at", "the principal has expired")
    thread_id: ThreadId | None = None
    run_id: RunId | None = None
    if thread is not None:
        thread_id, state = thread
        run_id = run or state.current_run_id or RunId(new_id())
    return UserExecutionContext(
        tenant_id=principal.tenant_id,
        user_id=principal.user_id,
        thread_id=thread_id,
        run_id=run_id,
        request_id=RequestId(new_id()),
        websocket_client_id=websocket_client_id,
        scopes=principal.scopes,
        issued_at=now,
        expires_at=principal.expires_at,
        attributes=attributes or Attributes(),
    )
