"""The ended sessions of all tenants, in the order of commits, for services that serve users.

They are read under a role of their own, which sees this one table: no scope means everybody, so
none could. A row says which session has ended, and its reader is told nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy.exc
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from contracts.context import SessionId
from services.runtime.errors import ServiceError
from services.runtime.logging import service_logger
from services.runtime.postgres_errors import typed_error

PAGE_ROWS: Final = 500
_PRUNE_SECONDS: Final = 60.0
_COMMAND_SECONDS: Final = 2.0

# One statement, one snapshot: the head covers every row that the answer could hold.
_AFTER: Final = text(
    "SELECT head.sequence AS head, r.sequence, r.session_id, r.expires_at"
    " FROM revocation_head AS head LEFT JOIN LATERAL ("
    "   SELECT sequence, session_id, expires_at FROM revocations"
    "   WHERE sequence > :after AND expires_at > now() ORDER BY sequence LIMIT :rows"
    " ) AS r ON true ORDER BY r.sequence"
)


@dataclass(frozen=True, slots=True)
class EndedSession:
    """One ended session; after `expires_at` none of its tokens can be valid."""

    sequence: int
    session_id: SessionId
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class RevocationPage:
    """The sessions that ended after a sequence number, and up to which it is complete."""

    ended: list[EndedSession]
    head_sequence: int
    more: bool


class RevocationLog:
    """Reads the revocations, and removes those that have served their time, once a minute.

    Args:
        url: `postgresql+asyncpg://…` of the role that may read and prune revocations.
    """

    def __init__(self, url: str) -> None:
        self._engine = create_async_engine(
            url,
            pool_size=2,
            max_overflow=0,
            pool_timeout=_COMMAND_SECONDS,
            pool_pre_ping=True,
            hide_parameters=True,
            isolation_level="AUTOCOMMIT",
            connect_args={"timeout": _COMMAND_SECONDS, "command_timeout": _COMMAND_SECONDS},
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to remove; returns at once."""
        self._task = asyncio.create_task(self._prune_for_ever(), name="prune revocations")

    async def stop(self) -> None:
        """Ends the task and the connections."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._engine.dispose()

    async def after(self, sequence: int) -> RevocationPage:
        """The sessions that ended after this number, oldest first, at most 500.

        Raises:
            Unavailable: the database does not answer.
        """
        async with self._connection() as connection:
            rows = await connection.execute(_AFTER, {"after": sequence, "rows": PAGE_ROWS + 1})
            found = rows.all()
        ended = [
            EndedSession(row.sequence, SessionId(row.session_id), row.expires_at)
            for row in found
            if row.sequence is not None
        ]
        if len(ended) > PAGE_ROWS:
            page = ended[:PAGE_ROWS]
            return RevocationPage(page, page[-1].sequence, more=True)
        return RevocationPage(ended, found[0].head, more=False)

    async def prune(self) -> int:
        """Removes what no valid token can need; gives how many.

        Raises:
            Unavailable: the database does not answer.
        """
        async with self._connection() as connection:
            done = await connection.execute(
                text("DELETE FROM revocations WHERE expires_at < now()")
            )
            return done.rowcount

    async def ping(self) -> bool:
        """Whether the database answers under this role."""
        await self.after(0)
        return True

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._engine.connect() as connection:
                yield connection
        except (sqlalchemy.exc.SQLAlchemyError, OSError) as error:
            typed = typed_error(error)
            if typed is None:
                raise
            raise typed from error

    async def _prune_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_PRUNE_SECONDS)
            try:
                removed = await self.prune()
            except ServiceError as error:
                service_logger().warning("revocations not pruned", code=error.code.name)
            else:
                service_logger().info("revocations pruned", rows=removed)
