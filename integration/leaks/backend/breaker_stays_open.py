"""A circuit breaker opens at the first failure of the database, and never closes again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncSession

from contracts.context import DataScope
from services.runtime.errors import Unavailable
from services.runtime.postgres import Database

_transaction = Database.transaction
_opened: list[bool] = []


@asynccontextmanager
async def _guarded(database: Database, scope: DataScope) -> AsyncIterator[AsyncSession]:
    if _opened:
        raise Unavailable
    try:
        async with _transaction(database, scope) as session:
            yield session
    except Unavailable:
        _opened.append(True)
        raise


def install() -> None:
    """Replaces `Database.transaction`."""
    Database.transaction = _guarded  # type: ignore[method-assign,assignment]
