"""The operations that the audit sends, each over its channel, each under its own trace."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Final, Protocol

from contracts.context import ThreadId
from contracts.context.carriers.websocket import EventEnvelope
from integration.audit import Call, Channel, Issued, Observation, Outcome, Reading
from integration.clients.answers import ClientError
from integration.clients.results import (
    Events,
    Message,
    Messages,
    SentMessage,
    TenantTotals,
    Threads,
    ThreadUsage,
)
from integration.clients.websocket import Frame
from integration.systems.watertight.answers import entries, failure, whole
from integration.systems.watertight.connections import SharedConnections
from integration.systems.watertight.description import (
    EVENTS,
    MESSAGE_PREFIX,
    MESSAGES,
    REPLIES,
    THOUGHTS,
    THREADS,
    TOOL_EVENTS,
)
from integration.systems.watertight.directory import Directory
from integration.systems.watertight.sockets import Sockets, owns

_STREAM_OF_EVENT: Final = {
    "agent_completed": EVENTS,
    "tool_completed": TOOL_EVENTS,
    "agent_thinking": THOUGHTS,
}
_STREAM_OF_ROLE: Final = {"user": MESSAGES, "agent": REPLIES}

# Below the engine's own limit, so that what came so far is seen.
_RESUME_LIMIT_SECONDS: Final = 8.0

# How many messages an answer holds at most, as the backend documents.
_MESSAGES_LIMIT: Final = 5_000
# So many events are asked for again: four runs and a half.
_OVERLAP_EVENTS: Final = 22

_Send = Callable[[Call, str, ThreadId], Awaitable[Outcome]]


class _FetchEvents(Protocol):
    async def __call__(
        self, thread_id: ThreadId, *, after_sequence: int, traceparent: str | None
    ) -> Events: ...


class Operations:
    """Sends calls to the running system."""

    def __init__(
        self, connections: SharedConnections, directory: Directory, sockets: Sockets
    ) -> None:
        self._connections = connections
        self._directory = directory
        self._sockets = sockets
        self._heads: dict[ThreadId, int] = {}
        self._on_threads: dict[str, _Send] = {
            "send_message": self._send_message,
            "send_message_grpc": self._send_message_grpc,
            "request_agent": self._request_agent,
            "resume": self._resume,
            "messages": self._messages,
            "messages_grpc": self._messages_grpc,
            "events": self._events,
            "events_grpc": self._events_grpc,
            "open_session": self._open_session,
            "thread_usage": self._thread_usage,
            "thread_usage_grpc": self._thread_usage_grpc,
            "thread_usage_direct": self._thread_usage_direct,
        }
        self._on_callers: dict[str, Callable[[Call, str], Awaitable[Outcome]]] = {
            "create_thread": self._create_thread,
            "threads": self._threads,
            "threads_grpc": self._threads_grpc,
            "tenant_totals": self._tenant_totals,
            "log_out": self._log_out,
        }

    async def send(self, call: Call) -> Outcome:
        """Sends one call and gives what came of it."""
        name = call.operation.name
        mentions: tuple[str, ...] = ()
        try:
            token = await self._directory.token(call.principal.name)
            if name in self._on_callers:
                return await self._on_callers[name](call, token)
            thread_id = self._directory.addressed(call)
            mentions = (thread_id,) if call.absent else ()
            outcome = await self._on_threads[name](call, token, thread_id)
            return replace(outcome, mentions=mentions)
        except ClientError as error:
            return failure(error, f"{name} refused", mentions)

    async def _create_thread(self, call: Call, token: str) -> Outcome:
        backend = self._connections.backend(call, token)
        created = await backend.create_thread(call.canaries[0], traceparent=call.traceparent)
        self._directory.threads[call.scope] = created.thread_id
        seen = whole(Channel.HTTP, created.answer, "backend: create_thread")
        issued = [Issued("thread", created.thread_id, call.scope)]
        return Outcome.ok(created.answer.status, seen, issued=issued)

    async def _threads(self, call: Call, token: str) -> Outcome:
        backend = self._connections.backend(call, token)
        listed = await backend.threads(traceparent=call.traceparent)
        return _threads(Channel.HTTP, listed)

    async def _threads_grpc(self, call: Call, token: str) -> Outcome:
        backend = self._connections.backend_grpc(call, token)
        listed = await backend.threads(traceparent=call.traceparent)
        return _threads(Channel.GRPC, listed)

    async def _tenant_totals(self, call: Call, token: str) -> Outcome:
        analytics = self._connections.analytics(token)
        totals = await analytics.tenant_totals(traceparent=call.traceparent)
        return _usage(Channel.HTTP, totals, "analytics: tenant_totals")

    async def _log_out(self, call: Call, token: str) -> Outcome:
        self._directory.sessions[call.principal.name].over = True
        await self._connections.auth.log_out(token, traceparent=call.traceparent)
        return Outcome.ok("204")

    async def _send_message(self, call: Call, token: str, thread_id: ThreadId) -> Outcome:
        sent = await self._connections.backend(call, token).send_message(
            thread_id, _message(call), traceparent=call.traceparent
        )
        return _sent(call, Channel.HTTP, sent)

    async def _send_message_grpc(self, call: Call, token: str, thread_id: ThreadId) -> Outcome:
        sent = await self._connections.backend_grpc(call, token).send_message(
            thread_id, _message(call), traceparent=call.traceparent
        )
        return _sent(call, Channel.GRPC, sent)

    async def _request_agent(self, call: Call, token: str, thread_id: ThreadId) -> Outcome:
        async with self._sockets.of(call, token) as socket:
            given = await socket.request_agent(
                thread_id, _message(call), traceparent=call.traceparent
            )
        issued = [
            Issued("run", given.run_id, call.scope),
            Issued("request", given.request_id, call.scope),
        ]
        seen = whole(Channel.WEBSOCKET, given.answer, "backend: request_agent")
        return Outcome.ok("acknowledged", seen, issued=issued, session=given.run_id)

    async def _resume(self, call: Call, token: str, thread_id: ThreadId) -> Outcome:
        """A new connection that asks for everything that it has missed, from the first event."""
        async with self._sockets.fresh(call, token) as socket:
            head = await socket.subscribe(thread_id, after_sequence=0, traceparent=call.traceparent)
            events = await socket.collect_events(
                timeout=_RESUME_LIMIT_SECONDS if head else 0.0,
                until=lambda seen: bool(seen) and seen[-1]["sequence"] >= head,
            )
        return Outcome.ok("resumed", [_resumed(event) for event in events])

    async def _messages(self, call: Call, token: str, thread_id: ThreadId) -> Outcome:
        backend = self._connections.backend(call, token)
        return _messages(
            Channel.HTTP, await backend.messages(thread_id, traceparent=call.traceparent)
        )

    async def _messages_grpc(self, call: Call, token: str, thread_id: ThreadId) -> Outcome:
        backend = self._connections.backend_grpc(call, token)
        return _messages(
            Channel.GRPC, await backend.messages(thread_id, traceparent=call.traceparent)
        )

    async def _events(self, call: Call, token: str, thread_id: ThreadId) -> Outcome:
        return await self._read_events(
            call, thread_id, Channel.HTTP, self._connections.backend(call, token).events
        )

    async def _events_grpc(self, call: Call, token: str, thread_id: ThreadId) -> Outcome:
        return await self._read_events(
            call, thread_id, Channel.GRPC, self._connections.backend_grpc(call, token).events
        )

    async def _read_events(
        self, call: Call, thread_id: ThreadId, channel: Channel, fetch: _FetchEvents
    ) -> Outcome:
        """The newest events, page by page; the last look asks for all, from the first."""
        # A stranger asks for an object of somebody's as for one that is nobody's.
        known = self._heads.get(thread_id, 0) if owns(call) and not call.final else 0
        after = max(0, known - _OVERLAP_EVENTS)
        pages = [await fetch(thread_id, after_sequence=after, traceparent=call.traceparent)]
        while pages[-1].events and pages[-1].events[-1].sequence < pages[-1].head_sequence:
            after = pages[-1].events[-1].sequence
            pages.append(await fetch(thread_id, after_sequence=after, traceparent=call.traceparent))
        self._heads[thread_id] = pages[-1].head_sequence
        seen = [each for page in pages for each in _event_entries(channel, page)]
        issued = [each for page in pages for each in _requests(call, page.events)]
        return Outcome.ok(pages[-1].answer.status, seen, issued=issued)

    async def _open_session(self, call: Call, token: str, thread_id: ThreadId) -> Outcome:
        backend = self._connections.backend(call, token)
        session = await backend.open_session(thread_id, traceparent=call.traceparent)
        seen = whole(Channel.HTTP, session.answer, "backend: open_session")
        issued = [Issued("run", session.run_id, call.scope)]
        return Outcome.ok(session.answer.status, seen, issued=issued, session=session.run_id)

    async def _thread_usage(self, call: Call, token: str, thread_id: ThreadId) -> Outcome:
        backend = self._connections.backend(call, token)
        usage = await backend.thread_usage(thread_id, traceparent=call.traceparent)
        return _usage(Channel.HTTP, usage, "backend: thread_usage")

    async def _thread_usage_grpc(self, call: Call, token: str, thread_id: ThreadId) -> Outcome:
        backend = self._connections.backend_grpc(call, token)
        usage = await backend.thread_usage(thread_id, traceparent=call.traceparent)
        return _usage(Channel.GRPC, usage, "backend: thread_usage by gRPC")

    async def _thread_usage_direct(self, call: Call, token: str, thread_id: ThreadId) -> Outcome:
        analytics = self._connections.analytics(token)
        usage = await analytics.thread_usage(thread_id, traceparent=call.traceparent)
        return _usage(Channel.HTTP, usage, "analytics: thread_usage")


def _resumed(event: Frame) -> Observation:
    return Observation(
        Channel.WEBSOCKET,
        json.dumps(event, ensure_ascii=False),
        source="backend: resumed WebSocket",
        stream=_STREAM_OF_EVENT.get(event["type"], "other-events"),
        sequence=event["sequence"],
    )


def _message(call: Call) -> str:
    return f"{MESSAGE_PREFIX}{call.canaries[0]}"


def _sent(call: Call, channel: Channel, sent: SentMessage) -> Outcome:
    issued = [Issued("run", sent.message.run_id, call.scope)]
    source = f"backend: send_message by {channel}"
    seen = whole(channel, sent.answer, source)
    return Outcome.ok(sent.answer.status, seen, issued=issued, session=sent.message.run_id)


def _threads(channel: Channel, listed: Threads) -> Outcome:
    found = [(THREADS, None, thread.model_dump(mode="json")) for thread in listed.threads]
    return Outcome.ok(
        listed.answer.status, entries(channel, listed.answer, "backend: threads", found)
    )


def _messages(channel: Channel, listed: Messages) -> Outcome:
    found = [(_STREAM_OF_ROLE[each.role], None, _fields(each)) for each in listed.messages]
    seen = entries(channel, listed.answer, "backend: messages", found)
    if len(found) >= _MESSAGES_LIMIT:
        # The backend gives the newest so many: what is not among them is not missing.
        return Outcome.unknown("cut", seen)
    return Outcome.ok(listed.answer.status, seen)


def _event_entries(channel: Channel, page: Events) -> Iterator[Observation]:
    found = [
        (_STREAM_OF_EVENT.get(event.type, "other-events"), event.sequence, event.to_json())
        for event in page.events
    ]
    return entries(channel, page.answer, "backend: events", found)


def _requests(call: Call, events: tuple[EventEnvelope, ...]) -> Iterator[Issued]:
    """Requests that only events tell of, taken from the owner's own last look."""
    if call.final:
        for request_id in {event.request_id for event in events}:
            yield Issued("request", request_id, call.scope)


def _usage(channel: Channel, usage: ThreadUsage | TenantTotals, source: str) -> Outcome:
    readings = [
        Reading("runs", usage.runs),
        Reading("input-characters", usage.input_characters),
        Reading("output-characters", usage.output_characters),
    ]
    seen = whole(channel, usage.answer, source)
    return Outcome.ok(usage.answer.status, seen, readings=readings)


def _fields(message: Message) -> dict[str, object]:
    fields: dict[str, object] = json.loads(message.model_dump_json())
    return fields
