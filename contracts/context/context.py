"""`UserExecutionContext`: for whom and where work is done."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from contracts.context.attributes import Attributes
from contracts.context.errors import (
    ContextExpired,
    ContextMalformed,
    ContextMissing,
    ContextWidened,
    DepthExceeded,
    ScopeDenied,
    SessionScopeConflict,
)
from contracts.context.identifiers import (
    ClientLabel,
    RequestId,
    RunId,
    TenantId,
    ThreadId,
    UserId,
    optional,
    require,
)
from contracts.context.scopes import DataScope, Scope

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

MAXIMUM_OPERATION_DEPTH: Final = 10
MAXIMUM_CLOCK_SKEW: Final = timedelta(seconds=5)

# Where a session keeps the scope of its transactions; services.runtime.postgres reads it.
SESSION_SCOPE: Final = "watertight.scope"


class _ScopedSession(Protocol):
    @property
    def info(self) -> MutableMapping[Any, Any]: ...

    def in_transaction(self) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class UserExecutionContext:
    """For whom and where work is done. Immutable; a derived context only narrows.

    Times are aware datetimes. `run_id` needs a `thread_id`; a context of depth 0 has no parent
    request, any other has one. The database session is a convenience of the process that holds the
    context: it is no part of equality, hash, repr or encoding.

    Raises:
        InvalidIdentifier: a field is not of its own identifier type.
        ContextMalformed: fields contradict each other.
        DepthExceeded: the depth is over 10.
    """

    tenant_id: TenantId
    user_id: UserId
    thread_id: ThreadId | None = None
    run_id: RunId | None = None
    request_id: RequestId
    parent_request_id: RequestId | None = None
    operation_depth: int = 0
    websocket_client_id: ClientLabel | None = None
    scopes: frozenset[Scope] = frozenset()
    issued_at: datetime
    expires_at: datetime
    attributes: Attributes = field(default_factory=Attributes)
    _session: _ScopedSession | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        require(TenantId, self.tenant_id)
        require(UserId, self.user_id)
        optional(ThreadId, self.thread_id)
        optional(RunId, self.run_id)
        require(RequestId, self.request_id)
        optional(RequestId, self.parent_request_id)
        optional(ClientLabel, self.websocket_client_id)
        if not isinstance(self.attributes, Attributes):
            object.__setattr__(self, "attributes", Attributes(self.attributes))
        if not isinstance(self.scopes, frozenset) or not all(
            isinstance(scope, Scope) for scope in self.scopes
        ):
            raise ContextMalformed("scopes", "expected a frozenset of Scope")
        self._check_lineage()
        self._check_times()

    def _check_lineage(self) -> None:
        if self.run_id is not None and self.thread_id is None:
            raise ContextMalformed("run_id", "a run belongs to a thread, and there is none")
        if type(self.operation_depth) is not int or self.operation_depth < 0:
            raise ContextMalformed("operation_depth", "expected a whole number from 0")
        if self.operation_depth > MAXIMUM_OPERATION_DEPTH:
            raise DepthExceeded(
                "operation_depth",
                f"expected at most {MAXIMUM_OPERATION_DEPTH}, got {self.operation_depth}",
            )
        if (self.operation_depth == 0) != (self.parent_request_id is None):
            raise ContextMalformed(
                "parent_request_id", "expected none at depth 0 and one at every other depth"
            )
        if self.parent_request_id == self.request_id:
            raise ContextMalformed("parent_request_id", "a request cannot be its own parent")

    def _check_times(self) -> None:
        for name in ("issued_at", "expires_at"):
            value = getattr(self, name)
            if not isinstance(value, datetime) or value.utcoffset() is None:
                raise ContextMalformed(name, "expected a datetime with a time zone")
        if self.expires_at <= self.issued_at:
            raise ContextMalformed("expires_at", "expected a time after issued_at")

    @property
    def data_scope(self) -> DataScope:
        """The scope of the thread where there is one, else of the user."""
        if self.thread_id is None:
            return self.user_scope
        return DataScope.thread(self.tenant_id, self.user_id, self.thread_id)

    @property
    def user_scope(self) -> DataScope:
        """Everything of the user, for lists of her threads."""
        return DataScope.user(self.tenant_id, self.user_id)

    def require_valid(self, now: datetime) -> None:
        """Raises `ContextExpired` from `expires_at` on, and more than 5 s before `issued_at`."""
        if now >= self.expires_at:
            raise ContextExpired("expires_at", "the context has expired")
        if self.issued_at - now > MAXIMUM_CLOCK_SKEW:
            raise ContextExpired("issued_at", "the context is not valid yet")

    def require_scope(self, scope: Scope) -> None:
        """Raises `ScopeDenied` unless the context has this scope."""
        if scope not in self.scopes:
            raise ScopeDenied("scopes", f"the operation asks for {scope}")

    def child(self, request_id: RequestId) -> Self:
        """The context of a call that this one makes: one deeper, this request its parent.

        Raises:
            DepthExceeded: this context is at the limit already.
        """
        return replace(
            self,
            request_id=request_id,
            parent_request_id=self.request_id,
            operation_depth=self.operation_depth + 1,
        )

    def narrowed(
        self,
        *,
        thread_id: ThreadId | None = None,
        run_id: RunId | None = None,
        scopes: Iterable[Scope] | None = None,
        expires_at: datetime | None = None,
    ) -> Self:
        """A context for less: a thread where there was none, its run, fewer scopes, a nearer end.

        Raises:
            ContextWidened: it would be for something else, or for more.
        """
        kept = self.scopes if scopes is None else frozenset(scopes)
        until = self.expires_at if expires_at is None else expires_at
        if thread_id is not None and self.thread_id not in (None, thread_id):
            raise ContextWidened("thread_id", "the context belongs to another thread")
        if run_id is not None and self.run_id not in (None, run_id):
            raise ContextWidened("run_id", "the context belongs to another run")
        if not kept <= self.scopes:
            raise ContextWidened("scopes", "expected a subset of the context's scopes")
        if until > self.expires_at:
            raise ContextWidened("expires_at", "expected no later time than the context's")
        return replace(
            self,
            thread_id=self.thread_id if thread_id is None else thread_id,
            run_id=self.run_id if run_id is None else run_id,
            scopes=kept,
            expires_at=until,
        )

    def with_db_session(self, session: AsyncSession) -> Self:
        """A copy whose `db` runs each transaction under this context's scope.

        The session must come from `services.runtime.postgres.Database`, which binds the scope at
        the start of every transaction.

        Raises:
            SessionScopeConflict: the session has an open transaction under another scope.
        """
        bound = session.info.get(SESSION_SCOPE)
        if session.in_transaction() and bound != self.data_scope:
            raise SessionScopeConflict("session", "it has an open transaction under another scope")
        session.info[SESSION_SCOPE] = self.data_scope
        return replace(self, _session=session)

    @property
    def db(self) -> AsyncSession:
        """The session that `with_db_session` bound.

        Raises:
            ContextMissing: none was bound.
            SessionScopeConflict: it was bound to another context since.
        """
        if self._session is None:
            raise ContextMissing("session", "bind one by with_db_session")
        if self._session.info.get(SESSION_SCOPE) != self.data_scope:
            raise SessionScopeConflict("session", "it has been bound to another scope since")
        return self._session  # type: ignore[return-value]  # with_db_session took an AsyncSession
