"""Threads' sessions as their users see them: by HTTP at each replica, and from the store itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from contracts.context import (
    MEMBER_SCOPES,
    Principal,
    RunId,
    SessionId,
    TenantId,
    ThreadId,
    UserId,
)
from integration.clients.answers import Refused, Unanswered
from integration.clients.backend import BackendClient
from integration.clients.results import SentMessage
from integration.clients.websocket import WebSocketTestClient
from integration.clients.websocket_frames import Frame
from integration.environment import Environment
from integration.fixtures.principals import Person
from services.runtime.calls import new_id
from services.runtime.postgres import Database
from services.runtime.redis import ScopedRedis
from services.runtime.sessions import SessionStore

SERVED_SECONDS: Final = 15.0
"""How long after a restart everybody is served again."""

COMPLETED: Final = "agent_completed"

_T = TypeVar("_T")

_SERVICE: Final = "backend"
_PAUSE_SECONDS: Final = 0.05
_ADD_THREAD: Final = """
    insert into threads (tenant_id, user_id, thread_id, title, created_at)
    values ($1, $2, $3, 'as given', now())
"""


class Sessions:
    """One person's sessions, asked for at every replica of the running system."""

    def __init__(self, environment: Environment, person: Person) -> None:
        self._environment = environment
        self._person = person

    async def current(self, thread_id: ThreadId) -> RunId:
        """The run that all replicas say the thread is in.

        Asks again while a replica says that it cannot serve now, for at most 15 s.

        Raises:
            AssertionError: the replicas do not agree.
            Refused: the thread is not hers, or no identifier.
        """
        runs = await asyncio.gather(
            *(
                served(lambda replica=replica: self.open(thread_id, replica=replica))  # type: ignore[misc]
                for replica in self._replicas
            )
        )
        if len(set(runs)) != 1:
            raise AssertionError(f"the replicas say different runs of {thread_id!r}: {runs}")
        return runs[0]

    async def open(self, thread_id: ThreadId, *, replica: int = 0) -> RunId:
        """The run that one replica says the thread is in; a first one where there is none."""
        async with self._backend(replica) as backend:
            return (await backend.open_session(thread_id)).run_id

    async def send(
        self, thread_id: ThreadId, message: str, run_id: RunId | None = None, *, replica: int = 0
    ) -> SentMessage:
        """Sends a message once: in a run that is named, else in another one.

        Sends it again while it is refused for now, which says that nothing has happened.
        """
        async with self._backend(replica) as backend:
            return await served(lambda: backend.send_message(thread_id, message, run_id=run_id))

    async def told(self, thread_id: ThreadId) -> list[tuple[int, RunId, str]]:
        """The thread's events at each replica, the same: number, run, and what is said."""
        told = []
        for replica in self._replicas:
            async with self._backend(replica) as backend:
                page = await served(lambda backend=backend: backend.events(thread_id))  # type: ignore[misc]
                told.append([(each.sequence, each.run_id, each.content) for each in page.events])
        if any(other != told[0] for other in told):
            raise AssertionError(f"the replicas tell different events of {thread_id!r}: {told}")
        return told[0]

    def _backend(self, replica: int) -> BackendClient:
        return BackendClient(self._environment.backend_urls[replica], token=self._person.token)

    @property
    def _replicas(self) -> range:
        return range(len(self._environment.backend_urls))


async def heard(socket: WebSocketTestClient) -> list[Frame]:
    """The events up to the next `agent_completed`, within 15 s.

    A replica that refuses everybody for now cuts its sockets off: then it resumes.
    """
    events: list[Frame] = []
    async with asyncio.timeout(SERVED_SECONDS):
        while not events or events[-1]["type"] != COMPLETED:
            if socket.closed:
                await resumed(socket)
            events += await socket.collect_events(SERVED_SECONDS, COMPLETED)
    return events


async def resumed(socket: WebSocketTestClient) -> None:
    """Reconnects, again where a replica that refuses everybody for now cuts it off at once."""
    async with asyncio.timeout(SERVED_SECONDS):
        while True:
            with contextlib.suppress(Unanswered):
                return await served(socket.reconnect)
            await asyncio.sleep(_PAUSE_SECONDS)


async def served(ask: Callable[[], Awaitable[_T]]) -> _T:
    """The answer, asked for again while a replica refuses everybody for now, for at most 15 s."""
    async with asyncio.timeout(SERVED_SECONDS):
        while True:
            try:
                return await ask()
            except Refused as error:
                if error.code != "UNAVAILABLE":
                    raise
            await asyncio.sleep(_PAUSE_SECONDS)


def run_of(message: str, run_id: RunId, first: int) -> list[tuple[int, RunId, str]]:
    """The events of one message, as `Sessions.told` gives them."""
    contents = (
        "",
        f"thinking about {message}",
        "echo",
        f"echo: {message}",
        f"You said: {message}",
    )
    return [(number, run_id, content) for number, content in enumerate(contents, first)]


def principal_of(tenant_id: TenantId, user_id: UserId) -> Principal:
    """Somebody who has logged in for the next hour, whatever her identifiers are."""
    return Principal(
        tenant_id=tenant_id,
        user_id=user_id,
        session_id=SessionId(new_id()),
        scopes=frozenset(MEMBER_SCOPES),
        expires_at=datetime.now(UTC) + timedelta(hours=1),
    )


def add_thread(
    environment: Environment, tenant_id: TenantId, user_id: UserId, thread_id: ThreadId
) -> None:
    """Makes a thread of that very identifier; the backend would give it one of its own."""
    environment.postgres.admin.fetch(
        _ADD_THREAD, str(tenant_id), str(user_id), str(thread_id), database=_SERVICE
    )


@asynccontextmanager
async def session_store(environment: Environment) -> AsyncIterator[SessionStore]:
    """The store of sessions over the running system's datastores: one replica more."""
    async with AsyncExitStack() as stack:
        database = Database(environment.postgres.url(_SERVICE, f"{_SERVICE}_service"), pool_size=4)
        stack.push_async_callback(database.dispose)
        redis = ScopedRedis(
            environment.valkey.url(_SERVICE), _SERVICE, system=environment.names.redis_namespace
        )
        stack.push_async_callback(redis.close)
        yield SessionStore(database, redis, clock=lambda: datetime.now(UTC), new_id=new_id)
