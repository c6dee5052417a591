"""Thread sessions: which run a thread is in. Postgres decides, Redis remembers.

`get_user_execution_context(user_id, thread_id, run_id=None)` gets, and creates only where there is
nothing to get. One `INSERT … ON CONFLICT … RETURNING` on `thread_contexts` decides under the row's
lock, so that replicas and restarts agree.

The cache cannot contradict the table. Its key is the thread's scope, and its values are versioned:
who changes the row stores a *fence* of the new version before it commits, and who merely read the
row stores what it read while it still holds the row's lock. So from before a change commits, nobody
is served the run that it replaces; if the fence cannot be stored, the change fails. What remains is
a Redis that loses acknowledged writes in a failover: until the lifetime of 60 s ends, a caller that
names no run may then continue an earlier run of its own thread, never anybody else's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.context import (
    Attributes,
    ClientLabel,
    ContextExpired,
    ContextWidened,
    DataScope,
    Principal,
    RequestId,
    RunId,
    ScopeKind,
    ThreadId,
    ThreadState,
    UserExecutionContext,
    UserId,
    open_context,
)
from services.runtime.errors import NotFound, Unavailable
from services.runtime.policies import secure_table
from services.runtime.postgres import Database
from services.runtime.postgres_errors import ConstraintViolated
from services.runtime.redis import ScopedRedis

_NAMESPACE: Final = "thread-context"
_LIFETIME_SECONDS: Final = 60
# A fence outlives every value that was on its way when it was stored, and clocks 10 s apart.
_FENCE_SECONDS: Final = _LIFETIME_SECONDS + 10
_FOREIGN_KEY: Final = "thread_contexts_thread"

_TABLE: Final = f"""
CREATE TABLE thread_contexts (
    tenant_id text NOT NULL,
    user_id text NOT NULL,
    thread_id text NOT NULL,
    current_run_id text NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    changed_by text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, user_id, thread_id),
    CONSTRAINT {_FOREIGN_KEY} FOREIGN KEY (tenant_id, user_id, thread_id)
        REFERENCES threads (tenant_id, user_id, thread_id) ON DELETE CASCADE
)
"""

# Without a run of its own (`explicit`) the row stays as it is, and its lock is taken all the same.
_OPEN: Final = text(
    """
    INSERT INTO thread_contexts AS held
        (tenant_id, user_id, thread_id, current_run_id, changed_by)
    VALUES (:tenant_id, :user_id, :thread_id, :run_id, :request_id)
    ON CONFLICT (tenant_id, user_id, thread_id) DO UPDATE SET
        (current_run_id, version, changed_by, changed_at) = (
            SELECT excluded.current_run_id, held.version + 1, excluded.changed_by, now()
            WHERE :explicit AND held.current_run_id <> excluded.current_run_id
            UNION ALL
            SELECT held.current_run_id, held.version, held.changed_by, held.changed_at
            WHERE NOT (:explicit AND held.current_run_id <> excluded.current_run_id)
        )
    RETURNING current_run_id, version, changed_by = :request_id AS changed
    """
)


def create_thread_contexts(role: str) -> list[str]:
    """The table, its policies and grants, for a migration that has made `threads` already.

    `threads` must have a key of (tenant_id, user_id, thread_id).
    """
    kinds = (ScopeKind.THREAD,)
    policies = secure_table("thread_contexts", role=role, select=kinds, insert=kinds, update=kinds)
    return [_TABLE, *policies]


@dataclass(frozen=True, slots=True)
class _Row:
    run_id: RunId
    version: int
    changed: bool


class SessionStore:
    """Opens contexts in threads.

    Args:
        database: where `thread_contexts` is.
        redis: its cache.
        clock: the time now, aware.
        new_id: a new identifier, for requests and runs.
    """

    def __init__(
        self,
        database: Database,
        redis: ScopedRedis,
        *,
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._database = database
        self._redis = redis
        self._clock = clock
        self._new_id = new_id

    async def open(
        self,
        principal: Principal,
        thread_id: ThreadId,
        run_id: RunId | None = None,
        *,
        request_id: RequestId | None = None,
        websocket_client_id: ClientLabel | None = None,
        attributes: Attributes | None = None,
    ) -> UserExecutionContext:
        """The context of a thread's session, in a transaction of its own or from the cache.

        No run gives the thread's current one, or its first; the current one continues; another is
        opened and becomes the current one. The request is new each time, unless the caller has one.

        Raises:
            NotFound: there is no such thread, or it is another's.
            ContextExpired: the principal has expired.
            Unavailable: Postgres does not answer, or Redis does not and a run was to be opened.
        """
        self._require_valid(principal)
        scope = _scope(principal, thread_id)
        held = await self._cached(scope)
        request_id = request_id or RequestId(self._new_id())
        if held is None or run_id not in (None, held):
            async with self._database.transaction(scope) as session:
                row = await self._decide(session, scope, run_id, request_id)
                if not row.changed:
                    await self._fill(scope, row)
            held = row.run_id
        return self._context(
            principal, thread_id, held, request_id, websocket_client_id, attributes
        )

    async def open_in(
        self,
        session: AsyncSession,
        principal: Principal,
        thread_id: ThreadId,
        run_id: RunId | None = None,
        *,
        request_id: RequestId | None = None,
        websocket_client_id: ClientLabel | None = None,
        attributes: Attributes | None = None,
    ) -> UserExecutionContext:
        """The same inside the caller's transaction, which must be in the thread's scope.

        A run that it opens is opened when that transaction commits. It never fills the cache: what
        it reads may be its own change, which can still be rolled back.
        """
        self._require_valid(principal)
        request_id = request_id or RequestId(self._new_id())
        row = await self._decide(session, _scope(principal, thread_id), run_id, request_id)
        return self._context(
            principal, thread_id, row.run_id, request_id, websocket_client_id, attributes
        )

    def for_principal(self, principal: Principal) -> UserSessions:
        """The sessions of one verified principal."""
        return UserSessions(self, principal)

    async def _decide(
        self, session: AsyncSession, scope: DataScope, run_id: RunId | None, request_id: str
    ) -> _Row:
        parameters = {
            "tenant_id": scope.tenant_id,
            "user_id": scope.user_id,
            "thread_id": scope.thread_id,
            "run_id": run_id or self._new_id(),
            "explicit": run_id is not None,
            "request_id": request_id,
        }
        try:
            found = (await session.execute(_OPEN, parameters)).one()
        except ConstraintViolated as error:
            if error.constraint != _FOREIGN_KEY:
                raise
            raise NotFound from None
        row = _Row(RunId(found.current_run_id), found.version, found.changed)
        if row.changed:
            await self._redis.set_version(
                _NAMESPACE,
                scope,
                version=row.version,
                value=b"",
                lifetime_seconds=_FENCE_SECONDS,
            )
        return row

    async def _fill(self, scope: DataScope, row: _Row) -> None:
        try:
            await self._redis.set_version(
                _NAMESPACE,
                scope,
                version=row.version,
                value=row.run_id.encode(),
                lifetime_seconds=_LIFETIME_SECONDS,
            )
        except Unavailable:
            return  # only the next look-up is slower

    async def _cached(self, scope: DataScope) -> RunId | None:
        try:
            held = await self._redis.get_version(_NAMESPACE, scope)
        except Unavailable:
            return None
        return RunId(held[1].decode()) if held is not None and held[1] else None

    def _require_valid(self, principal: Principal) -> None:
        if self._clock() >= principal.expires_at:
            raise ContextExpired("expires_at", "the principal has expired")

    def _context(  # noqa: PLR0917 -- internal; the public names take them as keywords
        self,
        principal: Principal,
        thread_id: ThreadId,
        run_id: RunId,
        request_id: str,
        websocket_client_id: ClientLabel | None,
        attributes: Attributes | None,
    ) -> UserExecutionContext:
        return open_context(
            principal,
            (thread_id, ThreadState(run_id)),
            run_id,
            now=self._clock(),
            new_id=lambda: request_id,
            websocket_client_id=websocket_client_id,
            attributes=attributes,
        )


@dataclass(frozen=True, slots=True)
class UserSessions:
    """The sessions of one principal, by the names that a caller knows."""

    store: SessionStore
    principal: Principal

    async def get_user_execution_context(
        self, user_id: UserId, thread_id: ThreadId, run_id: RunId | None = None
    ) -> UserExecutionContext:
        """`SessionStore.open` for this principal, who must be that user.

        Passing back the thread and run that came out changes nothing.

        Raises:
            ContextWidened: the user is another.
        """
        if user_id != self.principal.user_id:
            raise ContextWidened("user_id", "the principal is another user")
        return await self.store.open(self.principal, thread_id, run_id)


def _scope(principal: Principal, thread_id: ThreadId) -> DataScope:
    return DataScope.thread(principal.tenant_id, principal.user_id, thread_id)
