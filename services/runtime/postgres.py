"""Postgres under a scope: every transaction begins by saying for whom it works.

The scope is bound in SQLAlchemy's `begin` event with `set_config(…, true)`, which Postgres itself
takes back at the transaction's end, however that comes. Row-level security compares with it
(`services.runtime.policies`). A cancelled statement discards its connection. One that is given back
forgets what outlives a transaction, so that the next scope finds no cursor and no setting of the
last one's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy.exc
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.pool import ConnectionPoolEntry, PoolResetState

from contracts.context import SESSION_SCOPE, DataScope, SessionScopeConflict
from services.runtime.errors import OutcomeUnknown, Unavailable
from services.runtime.postgres_errors import (
    UnscopedTransaction,
    lost_connection,
    silence,
    typed_error,
)

_SCOPE_OPTION: Final = "watertight_scope"
_MILLISECONDS: Final = 1000
_RESET_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class DatabaseLimits:
    """How long anything may take. What takes longer fails with `Unavailable`, and its locks go."""

    connect_seconds: float = 5.0
    checkout_seconds: float = 5.0
    statement_seconds: float = 5.0
    lock_seconds: float = 3.0
    idle_in_transaction_seconds: float = 10.0
    # The client's own limit, for a server that does not answer at all: above the server's.
    command_seconds: float = 8.0


def bind_scope(connection: Connection, scope: DataScope) -> None:
    """Binds a scope to the connection's transaction, and to nothing that outlives it.

    All five settings are set in one statement, so that none keeps an older value. An error here is
    the transaction's: no statement runs without its scope.
    """
    names = scope.settings()
    calls = ", ".join(f"set_config(${2 * i + 1}, ${2 * i + 2}, true)" for i, _ in enumerate(names))
    parameters = tuple(part for pair in names.items() for part in pair)
    connection.exec_driver_sql(f"SELECT {calls}", parameters)


def _bind_at_begin(connection: Connection) -> None:
    scope = connection.get_execution_options().get(_SCOPE_OPTION)
    if not isinstance(scope, DataScope):
        raise UnscopedTransaction
    bind_scope(connection, scope)


def _translate(context: ExceptionContext) -> Exception | None:
    error = context.original_exception
    if not isinstance(error, Exception):  # a cancellation stays one
        return None
    if context.sqlalchemy_exception is not None:
        silence(context.sqlalchemy_exception)
    typed = typed_error(error)
    if isinstance(typed, Unavailable):
        if isinstance(error, OSError):  # TimeoutError is one
            context.is_disconnect = True  # what it would still answer is nobody's
        elif context.is_disconnect or lost_connection(error):
            context.is_disconnect = True  # SQLAlchemy does not know each of asyncpg's words for it
            return _ConnectionLost()
    return typed


def forget_session(connection: Any, _record: ConnectionPoolEntry, state: PoolResetState) -> None:
    """Leaves the next scope nothing that outlives a transaction: held cursors, settings, channels.

    Where this fails the pool closes the connection.
    """
    if state.asyncio_safe and not state.terminate_only:
        connection.run_async(lambda driver: driver.reset(timeout=_RESET_SECONDS))


class _ConnectionLost(Unavailable):
    """An established connection turned out to be gone."""


class _ScopedSession(Session):
    """A session whose every transaction has the scope that `info` held when it began."""

    _bound: tuple[SessionTransaction, DataScope, Engine] | None = None

    def get_bind(self, *_arguments: Any, **_options: Any) -> Engine:
        scope = self.info.get(SESSION_SCOPE)
        if not isinstance(scope, DataScope):
            raise UnscopedTransaction
        transaction = self.get_transaction() or self.begin()
        if self._bound is not None and self._bound[0] is transaction:
            if self._bound[1] != scope:
                raise SessionScopeConflict("session", "its transaction began under another scope")
            return self._bound[2]
        if not isinstance(self.bind, Engine):
            raise UnscopedTransaction
        engine = self.bind.execution_options(**{_SCOPE_OPTION: scope})
        self._bound = (transaction, scope, engine)
        return engine


class Database:
    """A pool of connections to one service's database, under one login role.

    Args:
        url: `postgresql+asyncpg://…`, of the service's login role.
        pool_size: connections at most; who waits longer than `checkout_seconds` gets `Unavailable`.
        limits: how long anything may take.
    """

    def __init__(
        self, url: str, *, pool_size: int = 5, limits: DatabaseLimits | None = None
    ) -> None:
        limits = limits or DatabaseLimits()
        self._engine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=limits.checkout_seconds,
            # A ping at each checkout costs three round trips. `transaction` begins anew by itself
            # where the pooled connection turns out to be gone, for nothing has run by then.
            pool_pre_ping=False,
            hide_parameters=True,
            connect_args={
                "timeout": limits.connect_seconds,
                "command_timeout": limits.command_seconds,
                "server_settings": _server_settings(limits),
            },
        )
        event.listen(self._engine.sync_engine, "begin", _bind_at_begin)
        event.listen(self._engine.sync_engine, "handle_error", _translate)
        event.listen(self._engine.sync_engine, "reset", forget_session)

    @asynccontextmanager
    async def transaction(self, scope: DataScope) -> AsyncIterator[AsyncSession]:
        """One transaction under a scope: committed at the end, rolled back by any exception.

        Raises:
            Unavailable: the database does not answer, or not in time; nothing was committed.
            OutcomeUnknown: it does not answer to the commit.
            DatabaseError: a statement failed; see `services.runtime.postgres_errors`.
        """
        async with self.session(scope) as session:
            await _begin(session)
            yield session
            try:
                await session.commit()
            except Unavailable as error:
                raise OutcomeUnknown from error

    @asynccontextmanager
    async def session(self, scope: DataScope | None = None) -> AsyncIterator[AsyncSession]:
        """A session for `context.with_db_session(session)`, which says the scope.

        Its transactions begin by themselves and are the caller's to commit; what is not committed
        is rolled back at the end. Without a scope the first statement raises `UnscopedTransaction`.
        """
        session = AsyncSession(
            self._engine,
            sync_session_class=_ScopedSession,
            info={} if scope is None else {SESSION_SCOPE: scope},
            expire_on_commit=False,
            autoflush=False,
        )
        try:
            async with session:
                yield session
        except (sqlalchemy.exc.SQLAlchemyError, OSError) as error:
            # Errors of the pool and of connecting come past the engine's own handler.
            typed = typed_error(error)
            if typed is None:
                raise
            raise typed from error

    async def ping(self) -> bool:
        """Whether the database answers."""
        try:
            async with self._engine.connect() as connection:
                raw = await connection.get_raw_connection()
                driver = raw.driver_connection
                try:
                    # The driver itself: there is no transaction, so there is no scope to bind.
                    return driver is not None and await driver.fetchval("SELECT 1") == 1
                except BaseException:
                    await connection.invalidate()
                    raise
        except Exception as error:  # noqa: BLE001 -- whatever it is, the answer is no
            silence(error)
            return False

    async def dispose(self) -> None:
        """Closes the pool's connections."""
        await self._engine.dispose()


async def _begin(session: AsyncSession) -> None:
    try:
        _ = await session.connection()
    except _ConnectionLost:
        # The pooled connection went since it was last used. Nothing but the binding has been sent,
        # so beginning once more on a new connection is safe.
        await session.rollback()
        _ = await session.connection()


def _server_settings(limits: DatabaseLimits) -> dict[str, str]:
    def milliseconds(seconds: float) -> str:
        return str(int(seconds * _MILLISECONDS))

    return {
        "application_name": "watertight",
        "statement_timeout": milliseconds(limits.statement_seconds),
        "lock_timeout": milliseconds(limits.lock_seconds),
        "idle_in_transaction_session_timeout": milliseconds(limits.idle_in_transaction_seconds),
        # Short statements only: compiling them costs more than running them.
        "jit": "off",
    }
