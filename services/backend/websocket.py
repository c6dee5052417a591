"""The backend's WebSocket interface, `/ws`: what a connection may say, and what it is sent.

A connection may follow many threads, and a thread may have many connections. Frames of one
connection are answered one after the other. A frame that is refused is answered by an `error`
frame, and the connection goes on; what is no JSON text ends it with 4400.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from starlette.websockets import WebSocket

from contracts.context import RunId, Scope, ThreadId
from services.backend import frames
from services.backend.conversations import Conversations
from services.backend.hub import Hub, Subscription
from services.runtime.calls import EdgeCall, new_id
from services.runtime.errors import (
    NotFound,
    ResourceExhausted,
    ServiceError,
    Unauthenticated,
    from_error,
)
from services.runtime.http_boundary import REQUEST_SECONDS
from services.runtime.metrics import DURATIONS, REQUESTS, refuse
from services.runtime.websocket import CHANNEL, WebSocketEdge
from services.runtime.websocket_connection import ClientConnection
from services.runtime.websocket_frames import MalformedFrame

PATH: Final = "/ws"


class ConversationSockets:
    """Serves `/ws`."""

    def __init__(
        self,
        edge: WebSocketEdge,
        conversations: Conversations,
        hub: Hub,
        *,
        maximum_subscriptions: int,
    ) -> None:
        self._edge = edge
        self._conversations = conversations
        self._hub = hub
        self._maximum_subscriptions = maximum_subscriptions

    async def serve(self, websocket: WebSocket) -> None:
        """Serves one connection until it ends."""
        await self._edge.serve(websocket, self._converse)

    async def _converse(self, connection: ClientConnection) -> None:
        talk = _Talk(
            self._edge,
            self._conversations,
            self._hub,
            connection,
            maximum_subscriptions=self._maximum_subscriptions,
        )
        try:
            while (text := await connection.receive()) is not None:
                await talk.answer(text)
        finally:
            talk.end()


class _Talk:
    """One connection's side of it: its subscriptions, and the answers to its frames."""

    def __init__(
        self,
        edge: WebSocketEdge,
        conversations: Conversations,
        hub: Hub,
        connection: ClientConnection,
        *,
        maximum_subscriptions: int,
    ) -> None:
        self._edge = edge
        self._conversations = conversations
        self._hub = hub
        self._connection = connection
        self._maximum_subscriptions = maximum_subscriptions
        self._subscriptions: dict[ThreadId, Subscription] = {}

    def end(self) -> None:
        """Follows nothing any more."""
        for subscription in self._subscriptions.values():
            self._hub.unsubscribe(subscription)
        self._subscriptions.clear()

    async def answer(self, text: str) -> None:
        """Answers one frame.

        Raises:
            MalformedFrame: it is no JSON.
            Unauthenticated, Unavailable: the caller's log-in has ended, or nobody can tell.
        """
        try:
            frame = frames.CONVERSATION.read(text)
        except MalformedFrame:
            raise
        except ServiceError as error:
            request_id = new_id()
            refuse(CHANNEL, error, self._connection.log, request_id=request_id)
            self._connection.send(frames.error(error, request_id))
            return
        started = time.perf_counter()
        with self._edge.call(self._connection, frame.type, frame.traceparent) as call:
            code = await self._handle(frame, call)
            elapsed = time.perf_counter() - started
            call.log.info(
                "answered",
                operation=f"{CHANNEL} {frame.type}",
                status=code,
                duration_ms=round(elapsed * 1000, 2),
            )
        REQUESTS.labels(CHANNEL, frame.type, code).inc()
        DURATIONS.labels(CHANNEL, frame.type).observe(elapsed)

    async def _do(self, frame: frames.ConversationFrame, call: EdgeCall) -> None:
        match frame:
            case frames.Subscribe():
                await self._subscribe(frame, call)
            case frames.Unsubscribe():
                self._unsubscribe(frame)
            case frames.AgentRequest():
                await self._send(frame, call)
            case frames.Ping():
                self._connection.send(frames.pong())

    async def _handle(self, frame: frames.ConversationFrame, call: EdgeCall) -> str:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                await self._do(frame, call)
        except Exception as cause:
            error = from_error(cause)
            call.operation.fail(error)
            refuse(CHANNEL, error, call.log, operation=frame.type)
            if error.is_defect:
                call.log.exception("failed", operation=frame.type)
            if isinstance(error, Unauthenticated):
                raise error from cause
            self._connection.send(frames.error(error, call.context.request_id))
            return error.code.name
        return "OK"

    async def _subscribe(self, frame: frames.Subscribe, call: EdgeCall) -> None:
        thread_id = ThreadId(frame.thread_id)
        call, head = await self._conversations.open_thread(call, thread_id, "threads.subscribe")
        if thread_id in self._subscriptions:
            # It goes on where it is: nothing is sent twice unless the client unsubscribes.
            self._connection.send(frames.subscribed(thread_id, head))
        else:
            await self._follow(
                call,
                thread_id,
                frame.after_sequence,
                lambda head: self._connection.send(frames.subscribed(thread_id, head)),
            )

    def _unsubscribe(self, frame: frames.Unsubscribe) -> None:
        thread_id = ThreadId(frame.thread_id)
        subscription = self._subscriptions.pop(thread_id, None)
        if subscription is None:
            raise NotFound
        self._hub.unsubscribe(subscription)
        self._connection.send(frames.unsubscribed(thread_id))

    async def _send(self, frame: frames.AgentRequest, call: EdgeCall) -> None:
        thread_id = ThreadId(frame.thread_id)
        run_id = None if frame.run_id is None else RunId(frame.run_id)
        call.context.require_scope(Scope.THREADS_WRITE)
        if thread_id not in self._subscriptions:
            opened, _ = await self._conversations.open_thread(call, thread_id, "threads.subscribe")
            await self._follow(opened, thread_id, None, lambda _head: None)
        sent = await self._conversations.send_message(
            call, thread_id, frame.message, run_id, usage_by_hop=False
        )
        self._connection.send(frames.acknowledged(sent))

    async def _follow(
        self,
        call: EdgeCall,
        thread_id: ThreadId,
        after_sequence: int | None,
        confirm: Callable[[int], object],
    ) -> None:
        if len(self._subscriptions) >= self._maximum_subscriptions:
            raise ResourceExhausted("expected fewer threads on one connection")
        self._subscriptions[thread_id] = await self._hub.subscribe(
            call.context, self._connection, after_sequence, confirm
        )
