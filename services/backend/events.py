"""Threads' events as they rest in Postgres, for the hub: each reading is one transaction."""

from __future__ import annotations

from contracts.context import ContextMissing, DataScope, ThreadId
from services.backend import store
from services.backend.domain import EventPage
from services.runtime.errors import NotFound
from services.runtime.postgres import Database


class StoredEvents:
    """Reads under the scope of the thread that is asked for."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def events_after(
        self, scope: DataScope, after_sequence: int, *, few: bool = False
    ) -> EventPage:
        """The thread's first events after a sequence number, in order, as many as the store says.

        Raises:
            NotFound: the scope has no such thread.
            Unavailable: Postgres does not answer.
        """
        async with self._database.transaction(scope) as session:
            page = await store.events_after(session, _thread_of(scope), after_sequence, few=few)
        if page is None:
            raise NotFound
        return page

    async def head(self, scope: DataScope) -> int:
        """The sequence number of the thread's newest event. Raises like `events_after`."""
        async with self._database.transaction(scope) as session:
            head = await store.head_sequence(session, _thread_of(scope))
        if head is None:
            raise NotFound
        return head


def _thread_of(scope: DataScope) -> ThreadId:
    if scope.thread_id is None:
        raise ContextMissing("thread_id", "expected the scope of a thread")
    return scope.thread_id
