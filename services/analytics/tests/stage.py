"""Analytics without its servers: the operations on real datastores, and contexts made by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from contracts.context import (
    ADMINISTRATOR_SCOPES,
    RequestId,
    RunId,
    TenantId,
    ThreadId,
    UserExecutionContext,
    UserId,
)
from contracts.context.carriers.entry import make_usage_entry
from services.analytics.domain import Usage
from services.analytics.store import UsageStore
from services.analytics.usage import UsageService
from services.runtime.calls import new_id
from services.runtime.postgres import Database
from services.runtime.telemetry import configure_telemetry
from tools.datastores import PostgresServer
from watertight.events.v1.usage_pb2 import UsageEntry, UsageEvent

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


def now() -> datetime:
    """The time, as the services take it."""
    return datetime.now(UTC)


def context(
    user: str = "user-a", tenant: str = "tenant-a", thread: str | None = "thread-a"
) -> UserExecutionContext:
    """A valid context in a run of a thread, or of the user alone."""
    return UserExecutionContext(
        tenant_id=TenantId(tenant),
        user_id=UserId(user),
        thread_id=None if thread is None else ThreadId(thread),
        run_id=None if thread is None else RunId(f"run-of-{thread}"),
        request_id=RequestId(new_id()),
        scopes=ADMINISTRATOR_SCOPES,
        issued_at=now(),
        expires_at=now() + timedelta(minutes=5),
    )


def event(
    of: UserExecutionContext, usage_id: str | None = None, characters: tuple[int, int] = (3, 5)
) -> UsageEvent:
    """What a run in this context consumed."""
    made = UsageEvent(
        usage_id=usage_id or new_id(),
        thread_id=str(of.thread_id),
        run_id=str(of.run_id),
        input_characters=characters[0],
        output_characters=characters[1],
    )
    made.occurred_at.FromDatetime(now())
    return made


def entry(of: UserExecutionContext, usage_id: str | None = None) -> UsageEntry:
    """The same as an entry of the stream."""
    return make_usage_entry(of, event(of, usage_id), TRACEPARENT, now())


class Stage:
    """The operations, and what the superuser sees of them."""

    def __init__(self, postgres: PostgresServer, name: str) -> None:
        self._postgres = postgres
        self.name = name
        self.database = Database(postgres.url(name, "analytics_service"), pool_size=3)
        self.store = UsageStore(self.database)
        self.usage = UsageService(self.store, configure_telemetry("analytics", ""))

    async def record(
        self,
        of: UserExecutionContext,
        usage_id: str | None = None,
        characters: tuple[int, int] = (3, 5),
    ) -> bool:
        """Stores one event under its context."""
        usage = Usage.of(event(of, usage_id, characters), of)
        return await self.store.record(of, usage, action="usage.record", trace_id=TRACE_ID)

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """Past all policies."""
        return [tuple(row.values()) for row in self._postgres.admin.fetch(sql, database=self.name)]

    async def close(self) -> None:
        """Ends the connections."""
        await self.database.dispose()
