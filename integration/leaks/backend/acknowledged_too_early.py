"""A transaction is committed in the background, to save its caller the wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from contracts.context import DataScope
from services.runtime.errors import Unavailable
from services.runtime.postgres import Database

_LATER_SECONDS: Final = 0.1
_committing: Final[set[asyncio.Task[None]]] = set()


@asynccontextmanager
async def _committed_later(database: Database, scope: DataScope) -> AsyncIterator[AsyncSession]:
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(database.session(scope))
        yield session
        task = asyncio.create_task(_commit(session, stack.pop_all()))
        _committing.add(task)
        task.add_done_callback(_committing.discard)


async def _commit(session: AsyncSession, stack: AsyncExitStack) -> None:
    try:
        async with stack:
            await asyncio.sleep(_LATER_SECONDS)
            await session.commit()
    except Unavailable:
        pass  # the caller has long been told that all is well


def install() -> None:
    """Replaces `Database.transaction`."""
    Database.transaction = _committed_later  # type: ignore[method-assign,assignment]
