"""The WebSocket edge: who may connect, who connects, and how a connection ends.

A caller authenticates by its first message, or by a single-use ticket in the URL. Before that it
is bounded: by origin, size, time and number. After that it lives no longer than its log-in. Codes:

| code | why |
|---|---|
| 1001 | the server stops |
| 1009 | a message over the limit |
| 1013 | the peer does not read, or too much at once; later it may work |
| 4400 | what came is not the protocol |
| 4401 | no valid credential in time, or its session ended, or it expired |
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextvars import Context
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qs

from opentelemetry.trace import SpanKind
from starlette.websockets import WebSocket, WebSocketDisconnect

from contracts.context import ClientLabel, Principal, TenantId, UserId
from contracts.context.carriers.trace import TRACEPARENT_KEY, TraceParent, read_traceparent
from services.runtime.authentication import Authenticator, LiveSessions
from services.runtime.calls import EdgeCall, new_id
from services.runtime.errors import (
    InvalidArgument,
    PermissionDenied,
    ResourceExhausted,
    ServiceError,
    TooLarge,
    Unauthenticated,
    close_code,
    from_error,
)
from services.runtime.http_errors import error_response
from services.runtime.logging import service_logger
from services.runtime.metrics import refuse
from services.runtime.tasks import end
from services.runtime.telemetry import Telemetry
from services.runtime.websocket_connection import ClientConnection, receive_text
from services.runtime.websocket_frames import Authenticate, FrameRegistry
from services.runtime.websocket_protocol import ClientSocket, socket_of

CHANNEL: Final = "websocket"
_WATCH_SECONDS: Final = 0.1
_MAXIMUM_QUERY_BYTES: Final = 2048

Redeem = Callable[[str], Awaitable[Principal]]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketLimits:
    """What a process grants to those who connect. Times are seconds."""

    allowed_origins: frozenset[str] = frozenset()
    """Browsers on other pages are refused; a caller without `Origin` is no browser."""
    authentication_seconds: float = 5.0
    authentication_bytes: int = 8 * 1024
    unauthenticated_connections: int = 100
    connections_per_user: int = 50
    slow_consumer_seconds: float = 5.0
    """How long a peer that has something to read may read nothing."""


class WebSocketEdge:
    """Admits and authenticates callers, and ends connections whose log-in has ended.

    Args:
        authenticator: verifies access tokens.
        sessions: tells whether a log-in has ended.
        redeem: gives the principal of a ticket, once; raises `Unauthenticated` otherwise.
    """

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        sessions: LiveSessions,
        redeem: Redeem,
        telemetry: Telemetry,
        limits: WebSocketLimits,
    ) -> None:
        self._authenticator = authenticator
        self._sessions = sessions
        self._redeem = redeem
        self._telemetry = telemetry
        self._limits = limits
        self._unauthenticated = 0
        self._connections: set[ClientConnection] = set()
        self._of_user: Counter[tuple[TenantId, UserId]] = Counter()
        self._watcher: asyncio.Task[None] | None = None
        self._draining = False
        self._first_frame: Final = FrameRegistry({"authenticate": Authenticate})

    async def start(self) -> None:
        """Begins to watch the log-ins of open connections; returns at once."""
        self._watcher = asyncio.create_task(
            self._watch(), name="websocket watcher", context=Context()
        )

    async def drain(self) -> None:
        """Ends every connection with 1001 and admits none."""
        self._draining = True
        for connection in list(self._connections):
            connection.go_away()

    async def stop(self) -> None:
        """Ends the watcher."""
        if self._watcher is not None:
            await end([self._watcher])
            self._watcher = None

    async def serve(
        self, websocket: WebSocket, converse: Callable[[ClientConnection], Awaitable[None]]
    ) -> None:
        """Serves one connection: admits it, authenticates it, and has `converse` talk with it."""
        try:
            self._admit(websocket)
        except ServiceError as error:
            await _deny(websocket, error)
            return
        self._unauthenticated += 1
        try:
            connection = await self._authenticate(websocket)
        finally:
            self._unauthenticated -= 1
        if connection is None:
            return
        with self._held(connection):
            if self._draining:
                connection.go_away()
            await self._run(connection, converse)

    @contextlib.contextmanager
    def call(
        self, connection: ClientConnection, operation: str, traceparent: str | None = None
    ) -> Iterator[EdgeCall]:
        """One operation of a connection's caller: a request, a span and a context of its own.

        Raises:
            Unauthenticated: the caller's log-in has ended or expired.
            Unavailable: nobody can tell at present.
        """
        principal = connection.principal
        self._require_valid(principal)
        context = connection.context()
        parent: TraceParent | None = None
        if traceparent is not None:
            parent = read_traceparent([(TRACEPARENT_KEY, traceparent)])
        with self._telemetry.span(
            f"{CHANNEL} {operation}", context, parent, kind=SpanKind.SERVER
        ) as span:
            yield EdgeCall(context=context, operation=span, principal=principal, access_token="")

    def _admit(self, websocket: WebSocket) -> None:
        if self._draining or self._unauthenticated >= self._limits.unauthenticated_connections:
            raise ResourceExhausted
        origins = websocket.headers.getlist("origin")
        if len(origins) > 1 or not self._limits.allowed_origins.issuperset(origins):
            raise PermissionDenied("origin: expected one of those that are allowed")

    async def _authenticate(self, websocket: WebSocket) -> ClientConnection | None:
        """The connection of a valid log-in; `None` when it came to nothing and has been closed."""
        socket = socket_of(websocket.scope)
        await websocket.accept()
        try:
            async with asyncio.timeout(self._limits.authentication_seconds):
                principal, label = await self._credentials(websocket, socket)
            self._require_valid(principal)
            self._require_few(principal)
            socket.is_known = True
            return ClientConnection(
                websocket,
                principal,
                label,
                slow_consumer_seconds=self._limits.slow_consumer_seconds,
            )
        except WebSocketDisconnect:
            return None
        except TimeoutError:
            error: ServiceError = Unauthenticated("expected a credential in time")
        except Exception as cause:  # noqa: BLE001 -- whatever it is, the caller stays a stranger
            error = from_error(cause)
        refuse(CHANNEL, error, service_logger())
        socket.end(close_code(error), error.message)
        return None

    async def _credentials(
        self, websocket: WebSocket, socket: ClientSocket
    ) -> tuple[Principal, ClientLabel | None]:
        if socket.query:
            ticket, label = _read_query(socket.query)
            return await self._redeem(ticket), label
        text = await receive_text(websocket)
        if text is None:
            raise WebSocketDisconnect
        if len(text.encode()) > self._limits.authentication_bytes:
            raise TooLarge
        frame = self._first_frame.read(text)
        label = (
            None if frame.websocket_client_id is None else ClientLabel(frame.websocket_client_id)
        )
        return await self._authenticator.authenticate(frame.token), label

    def _require_valid(self, principal: Principal) -> None:
        if datetime.now(UTC) >= principal.expires_at:
            raise Unauthenticated("the log-in has expired")
        self._sessions.require_live(principal.session_id)

    def _require_few(self, principal: Principal) -> None:
        if self._of_user[_user(principal)] >= self._limits.connections_per_user:
            raise ResourceExhausted

    @contextlib.contextmanager
    def _held(self, connection: ClientConnection) -> Iterator[None]:
        user = _user(connection.principal)
        self._connections.add(connection)
        self._of_user[user] += 1
        try:
            yield
        finally:
            self._connections.discard(connection)
            self._of_user[user] -= 1
            if not self._of_user[user]:
                del self._of_user[user]

    async def _run(
        self, connection: ClientConnection, converse: Callable[[ClientConnection], Awaitable[None]]
    ) -> None:
        ready = {"type": "ready", "connection_id": connection.connection_id}
        if connection.label is not None:
            ready["websocket_client_id"] = connection.label
        connection.log.info("websocket opened")
        try:
            connection.send(ready)
            await converse(connection)
        except WebSocketDisconnect:
            pass
        except ServiceError as error:
            refuse(CHANNEL, error, connection.log)
            connection.close(error)
        except Exception as cause:
            connection.log.exception("websocket failed")
            connection.close(from_error(cause))
        finally:
            connection.log.info("websocket closed", code=connection.ended_with)

    async def _watch(self) -> None:
        """Ends each connection at most 0.1 s after its log-in is known to have ended."""
        while True:
            for connection in list(self._connections):
                try:
                    self._require_valid(connection.principal)
                except ServiceError as error:
                    connection.close(error)
            await asyncio.sleep(_WATCH_SECONDS)


def _user(principal: Principal) -> tuple[TenantId, UserId]:
    return principal.tenant_id, principal.user_id


def _read_query(query: str) -> tuple[str, ClientLabel | None]:
    if len(query) > _MAXIMUM_QUERY_BYTES:
        raise TooLarge
    try:
        fields = parse_qs(query, keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        fields = {}
    tickets, labels = fields.pop("ticket", []), fields.pop("client_id", [])
    if fields or len(tickets) != 1 or len(labels) > 1:
        raise InvalidArgument("query: expected one ticket and at most one client_id")
    return tickets[0], ClientLabel(labels[0]) if labels else None


async def _deny(websocket: WebSocket, error: ServiceError) -> None:
    request_id = new_id()
    refuse(CHANNEL, error, service_logger(), request_id=request_id)
    await websocket.send_denial_response(error_response(error, request_id))
