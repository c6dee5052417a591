"""A backend without its servers: the operations on real datastores, and callers made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from contracts.context import (
    MEMBER_SCOPES,
    DataScope,
    Principal,
    Scope,
    SessionId,
    TenantId,
    ThreadId,
    UserId,
    open_context,
)
from services.backend.clients import AnalyticsClient
from services.backend.conversations import Conversations
from services.backend.domain import SentMessage
from services.backend.events import StoredEvents
from services.backend.transcripts import TranscriptCache
from services.runtime.auth_client import AuthClient
from services.runtime.calls import EdgeCall, new_id
from services.runtime.postgres import Database
from services.runtime.redis import ScopedRedis
from services.runtime.sessions import SessionStore
from services.runtime.telemetry import configure_telemetry
from services.runtime.wake_ups import WakeUps

_NOBODY = "127.0.0.1:9"  # the discard port: nothing of ours listens there


def now() -> datetime:
    """The time, as the services take it."""
    return datetime.now(UTC)


def principal(
    user: str = "user-a", tenant: str = "tenant-a", scopes: frozenset[Scope] = MEMBER_SCOPES
) -> Principal:
    """A user whose log-in is valid for five minutes."""
    return Principal(
        TenantId(tenant), UserId(user), SessionId(new_id()), scopes, now() + timedelta(minutes=5)
    )


class Stage:
    """The operations, their datastores, and what they announced."""

    def __init__(
        self, database: Database, redis: ScopedRedis, wake_ups: WakeUps, *, database_name: str
    ) -> None:
        self.database = database
        self.redis = redis
        self.wake_ups = wake_ups
        self.database_name = database_name
        self.committed: list[tuple[DataScope, int]] = []
        self.on_commit: Callable[[DataScope, int], None] = lambda _scope, _head: None
        self.events = StoredEvents(database)
        self.transcripts = TranscriptCache(redis)
        self.telemetry = configure_telemetry("backend", "")
        self._auth = AuthClient(_NOBODY, workload="backend", secret="x" * 32)
        self._analytics = AnalyticsClient(_NOBODY, self._auth)
        self.conversations = Conversations(
            database,
            SessionStore(database, redis, clock=now, new_id=new_id),
            self.transcripts,
            self._analytics,
            committed=self._committed,
            clock=now,
        )

    async def close(self) -> None:
        """Ends the clients."""
        await self._analytics.close()
        await self._auth.close()

    @contextmanager
    def call(self, caller: Principal | None = None) -> Iterator[EdgeCall]:
        """One operation of a caller."""
        caller = caller or principal()
        context = open_context(caller, None, None, now=now(), new_id=new_id)
        with self.telemetry.span("test", context, None) as operation:
            yield EdgeCall(context, operation, caller, "")

    async def thread(self, caller: Principal | None = None, title: str = "a title") -> ThreadId:
        """A new thread of the caller."""
        with self.call(caller) as call:
            return (await self.conversations.create_thread(call, title)).thread_id

    async def send(
        self, thread_id: ThreadId, message: str = "hello", caller: Principal | None = None
    ) -> SentMessage:
        """A message of the caller, acknowledged."""
        with self.call(caller) as call:
            return await self.conversations.send_message(
                call, thread_id, message, None, usage_by_hop=False
            )

    def _committed(self, scope: DataScope, head_sequence: int) -> None:
        self.committed.append((scope, head_sequence))
        self.on_commit(scope, head_sequence)


class Inbox:
    """A connection that keeps what it is sent, and whose peer reads as far as the test lets it."""

    def __init__(self) -> None:
        self.frames: list[dict[str, object]] = []
        self.open = True
        self.has_room = True

    def send_text(self, text: str) -> bool:
        """Keeps the frame."""
        if self.open:
            self.frames.append(json.loads(text))
        return self.open

    async def room(self) -> bool:
        """Never waits: no room ends the connection, as a slow consumer's does."""
        self.open = self.open and self.has_room
        return self.open

    @property
    def sequences(self) -> list[object]:
        """The sequence numbers of what came, in order."""
        return [frame["sequence"] for frame in self.frames]
