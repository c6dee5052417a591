"""The backend's HTTP interface."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from contracts.context import RunId, Scope, ThreadId
from services.backend.bodies import (
    EventList,
    MessageBody,
    MessageList,
    NewMessage,
    NewThread,
    SentBody,
    SessionBody,
    ThreadBody,
    ThreadList,
    TicketBody,
    UsageBody,
)
from services.backend.conversations import Conversations
from services.backend.tickets import Tickets
from services.runtime.calls import EdgeCall
from services.runtime.http import BoundaryRoute, edge
from services.runtime.text import Sequence64

ThreadPath = Annotated[str, Path(description="A thread of the caller.")]
Reader = Annotated[EdgeCall, edge(Scope.THREADS_READ)]
Writer = Annotated[EdgeCall, edge(Scope.THREADS_WRITE)]
UsageReader = Annotated[EdgeCall, edge(Scope.USAGE_READ)]


def make_router(conversations: Conversations, tickets: Tickets) -> APIRouter:
    """The routes over what a user does with her threads."""
    router = APIRouter(route_class=BoundaryRoute)
    _add_threads(router, conversations)
    _add_messages(router, conversations)

    @router.post("/websocket-tickets", status_code=201)
    async def issue_ticket(call: Reader, response: Response) -> TicketBody:
        """A single-use ticket for one WebSocket, for callers that cannot send a first message."""
        response.headers["cache-control"] = "no-store"
        return TicketBody.of(await tickets.issue(call.principal))

    return router


def _add_threads(router: APIRouter, conversations: Conversations) -> None:
    @router.post("/threads", status_code=201)
    async def create_thread(call: Writer, body: NewThread) -> ThreadBody:
        """Creates a thread."""
        return ThreadBody.of(await conversations.create_thread(call, body.title))

    @router.get("/threads")
    async def list_threads(call: Reader) -> ThreadList:
        """The caller's newest 1,000 threads, oldest first."""
        threads = await conversations.list_threads(call)
        return ThreadList(threads=[ThreadBody.of(thread) for thread in threads])

    @router.post("/threads/{thread_id}/session")
    async def open_session(call: Writer, thread_id: ThreadPath) -> SessionBody:
        """The thread's current run, or a first one where there is none: to continue later."""
        return SessionBody.of(await conversations.open_session(call, ThreadId(thread_id)))

    @router.get("/threads/{thread_id}/usage")
    async def get_usage(call: UsageReader, thread_id: ThreadPath) -> UsageBody:
        """What the thread's runs consumed, asked of analytics."""
        return UsageBody.of(await conversations.thread_usage(call, ThreadId(thread_id)))


def _add_messages(router: APIRouter, conversations: Conversations) -> None:
    @router.post("/threads/{thread_id}/messages", status_code=201)
    async def send_message(call: Writer, thread_id: ThreadPath, body: NewMessage) -> SentBody:
        """Stores a message and runs the agent on it; answered once that is committed."""
        sent = await conversations.send_message(
            call,
            ThreadId(thread_id),
            body.message,
            None if body.run_id is None else RunId(body.run_id),
            usage_by_hop=True,
        )
        return SentBody.of(sent)

    @router.get("/threads/{thread_id}/messages")
    async def list_messages(call: Reader, thread_id: ThreadPath) -> MessageList:
        """The thread's transcript, oldest first."""
        messages = await conversations.list_messages(call, ThreadId(thread_id))
        return MessageList(messages=[MessageBody.of(message) for message in messages])

    @router.get("/threads/{thread_id}/events")
    async def list_events(
        call: Reader,
        thread_id: ThreadPath,
        after_sequence: Annotated[Sequence64, Query(description="0: from the first.")] = 0,
    ) -> EventList:
        """The thread's events after a sequence number, in order."""
        page = await conversations.list_events(call, ThreadId(thread_id), after_sequence)
        return EventList.of(page)
