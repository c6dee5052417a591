"""A small service's scopes and rows, for the tests of the data modules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text

from contracts.context import (
    MEMBER_SCOPES,
    DataScope,
    Principal,
    RequestId,
    RunId,
    SessionId,
    TenantId,
    ThreadId,
    UserExecutionContext,
    UserId,
)
from contracts.context.carriers.entry import make_usage_entry
from services.runtime.postgres import Database
from tools.datastores import PostgresServer, ValkeyServer
from watertight.events.v1.usage_pb2 import UsageEntry, UsageEvent

OWNER: Final = "probe_owner"
SERVICE: Final = "probe_service"
RELAY: Final = "probe_relay"
TRACE_ID: Final = "0af7651916cd43dd8448eb211c80319c"
MIGRATIONS: Final = Path(__file__).parent / "migrations"
REDIS_RULES: Final = (
    "%RW~wt:probe:*",
    "&wt:probe:*",
    *(f"+{c}" for c in ("get", "set", "getdel", "del", "eval", "publish")),
    *(f"+{c}" for c in ("subscribe", "unsubscribe", "ping")),
    "(%W~wt:stream:usage +xadd +xlen)",
    "(%R~wt:stream:usage:stored +xread)",
)
CONSUMER_RULES: Final = (
    "+ping",
    (
        "(%RW~wt:stream:usage +xack +xautoclaim +xgroup|create +xinfo|groups +xpending"
        " +xreadgroup +xtrim)"
    ),
    "(%W~wt:stream:usage:dead %W~wt:stream:usage:stored +xadd)",
)


@dataclass(frozen=True)
class Probe:
    """One database of the small service."""

    server: PostgresServer
    name: str

    def url(self, role: str = SERVICE) -> str:
        """Of a role's connection."""
        return self.server.url(self.name, role)

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """What the superuser sees, past all policies."""
        return [tuple(row.values()) for row in self.server.admin.fetch(sql, database=self.name)]


def now() -> datetime:
    """The time now."""
    return datetime.now(UTC)


def principal(number: int = 1, tenant: int = 1) -> Principal:
    """A user; different numbers are different users."""
    return Principal(
        TenantId(f"tenant-{tenant}"),
        UserId(f"user-{tenant}-{number}"),
        SessionId(f"session-{number}"),
        MEMBER_SCOPES,
        now() + timedelta(hours=1),
    )


def thread_scope(number: int = 1, user: int = 1, tenant: int = 1) -> DataScope:
    """A thread of a user."""
    owner = principal(user, tenant)
    return DataScope.thread(owner.tenant_id, owner.user_id, ThreadId(f"thread-{number}"))


def user_scope(user: int = 1, tenant: int = 1) -> DataScope:
    """A user."""
    owner = principal(user, tenant)
    return DataScope.user(owner.tenant_id, owner.user_id)


def context_of_scope(scope: DataScope, run: str = "run-1") -> UserExecutionContext:
    """A valid context in a scope of kind user or thread."""
    assert scope.tenant_id is not None
    assert scope.user_id is not None
    return UserExecutionContext(
        tenant_id=scope.tenant_id,
        user_id=scope.user_id,
        thread_id=scope.thread_id,
        run_id=None if scope.thread_id is None else RunId(run),
        request_id=RequestId("request-1"),
        scopes=MEMBER_SCOPES,
        issued_at=now(),
        expires_at=now() + timedelta(minutes=5),
    )


def usage_entry(scope: DataScope, usage_id: str) -> UsageEntry:
    """An entry of a thread."""
    context = context_of_scope(scope)
    assert context.thread_id is not None
    assert context.run_id is not None
    event = UsageEvent(usage_id=usage_id, thread_id=context.thread_id, run_id=context.run_id)
    return make_usage_entry(context, event, "", now())


def stream_entries(valkey: ValkeyServer, stream: str) -> list[dict[bytes, bytes]]:
    """The fields of what stands in a stream, oldest first."""
    answer: Any = valkey.admin.xrange(stream)
    return [fields for _, fields in answer]


async def add_thread(database: Database, scope: DataScope) -> None:
    """Makes the scope's thread."""
    assert scope.tenant_id is not None
    assert scope.user_id is not None
    owner = DataScope.user(scope.tenant_id, scope.user_id)
    async with database.transaction(owner) as session:
        await session.execute(
            text("insert into threads values (:tenant_id, :user_id, :thread_id)"), columns(scope)
        )


def columns(scope: DataScope) -> dict[str, str | None]:
    """The scope as column values."""
    return {
        "tenant_id": scope.tenant_id,
        "user_id": scope.user_id,
        "thread_id": scope.thread_id,
    }


async def add_note(database: Database, scope: DataScope, note_id: str, body: str = "text") -> None:
    """Writes a note in the scope's thread."""
    async with database.transaction(scope) as session:
        await session.execute(
            text(
                "insert into notes values (:tenant_id, :user_id, :thread_id, :note_id, :body, null)"
            ),
            {**columns(scope), "note_id": note_id, "body": body},
        )


async def notes(database: Database, scope: DataScope) -> list[str]:
    """The notes that a scope sees."""
    async with database.transaction(scope) as session:
        found = await session.scalars(text("select note_id from notes order by note_id"))
        return list(found.all())
