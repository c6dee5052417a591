"""The WebSocket edge on a real socket: who is let in, under which context, and how it ends."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from structlog.stdlib import BoundLogger
from uvicorn import Config
from uvicorn.server import ServerState
from websockets.asyncio.client import ClientConnection as Peer
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from contracts.context import MEMBER_SCOPES, Principal, SessionId, TenantId, UserId
from services.runtime import websocket, websocket_handshake, websocket_protocol
from services.runtime.calls import EdgeCall
from services.runtime.errors import ServiceError, Unauthenticated, Unavailable
from services.runtime.http_server import HttpServer
from services.runtime.telemetry import configure_telemetry
from services.runtime.websocket import WebSocketEdge, WebSocketLimits
from services.runtime.websocket_connection import ClientConnection
from services.runtime.websocket_protocol import ClientSocket, socket_of
from tools.processes.waiting import until

_AMBIENT: ContextVar[str] = ContextVar("ambient", default="nobody")
_TRACE = "0af7651916cd43dd8448eb211c80319c"
_SECONDS = 10.0


def _principal(user: str) -> Principal:
    return Principal(
        TenantId("tenant"),
        UserId(user),
        SessionId(f"session-of-{user}"),
        MEMBER_SCOPES,
        datetime.now(UTC) + timedelta(minutes=5),
    )


class _Authority:
    """Every token is its user's name. Log-ins end, expire or are unknown as the test says."""

    def __init__(self) -> None:
        self.ended: Exception | None = None
        self.lifetime = timedelta(minutes=5)

    async def authenticate(self, access_token: str) -> Principal:
        if not access_token.startswith("user-"):
            raise Unauthenticated
        return replace(_principal(access_token), expires_at=datetime.now(UTC) + self.lifetime)

    def require_live(self, session_id: SessionId) -> None:
        del session_id
        if self.ended is not None:
            raise self.ended


@dataclass
class _Stage:
    """A server that answers each text with its caller's context."""

    edge: WebSocketEdge
    authority: _Authority
    port: int = 0
    scopes: list[dict[str, Any]] = None  # type: ignore[assignment]  # set below
    sockets: list[ClientSocket] = None  # type: ignore[assignment]  # set below

    async def serve(self, websocket: WebSocket) -> None:
        self.scopes.append({**websocket.scope, "extensions": None})
        self.sockets.append(socket_of(websocket.scope))
        await self.edge.serve(websocket, self.converse)

    async def converse(self, connection: ClientConnection) -> None:
        while (text := await connection.receive()) is not None:
            if text == "fail":
                raise RuntimeError("canary")
            before = _AMBIENT.get()
            _AMBIENT.set(text)
            with self.edge.call(connection, "echo", f"00-{_TRACE}-b7ad6b7169203331-01") as call:
                connection.send(_told(call, before))

    @asynccontextmanager
    async def peer(self, user: str = "user-a", query: str = "", **more: Any) -> AsyncIterator[Peer]:
        url = f"ws://127.0.0.1:{self.port}/ws{query}"
        async with asyncio.timeout(_SECONDS), connect(url, proxy=None, **more) as peer:
            if not query:
                await peer.send(json.dumps({"type": "authenticate", "token": user}))
            yield peer


def _told(call: EdgeCall, ambient: str) -> dict[str, Any]:
    return {
        "user": call.context.user_id,
        "request": call.context.request_id,
        "label": call.context.websocket_client_id,
        "trace": call.trace.trace_id,
        "ambient": ambient,
    }


@pytest.fixture
async def stage() -> AsyncIterator[_Stage]:
    """A running server."""
    authority = _Authority()

    async def redeem(ticket: str) -> Principal:
        return await authority.authenticate(ticket)

    edge = WebSocketEdge(
        authenticator=authority,
        sessions=authority,
        redeem=redeem,
        telemetry=configure_telemetry("test", ""),
        limits=WebSocketLimits(slow_consumer_seconds=0.2),
    )
    stage = _Stage(edge, authority, scopes=[], sockets=[])
    server = HttpServer(
        Starlette(routes=[WebSocketRoute("/ws", stage.serve)]),
        host="127.0.0.1",
        port=0,
        websocket_protocol=ClientSocket,
        grace_seconds=1,
    )
    await edge.start()
    stage.port = await server.listen()
    yield stage
    await edge.drain()
    server.accept_no_more()
    await server.finish()
    await edge.stop()


async def _close_code(peer: Peer) -> int:
    try:
        while True:
            await peer.recv()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd is not None else 1006


async def test_each_frame_has_a_context_of_its_own(stage: _Stage) -> None:
    """The same caller, another request; the frame's trace is continued."""
    async with stage.peer("user-a") as peer:
        await peer.recv()
        await peer.send("one")
        first = json.loads(await peer.recv())
        await peer.send("two")
        second = json.loads(await peer.recv())

    assert ("user-a", None, _TRACE) == (first["user"], first["label"], first["trace"])
    assert first["request"] != second["request"]


async def test_connections_share_nothing_ambient(stage: _Stage) -> None:
    """What one connection leaves in a context variable no other connection reads."""
    async with stage.peer("user-a") as one, stage.peer("user-b") as two:
        answers = []
        for peer, text in ((one, "of a"), (two, "of b")):
            await peer.recv()
            await peer.send(text)
            answers.append(json.loads(await peer.recv()))

    assert [("user-a", "nobody"), ("user-b", "nobody")] == [
        (answer["user"], answer["ambient"]) for answer in answers
    ]


async def test_nobody_sees_the_query(stage: _Stage) -> None:
    """A ticket authenticates, and stands in nothing that frameworks and logs look at."""
    async with stage.peer(query="?ticket=user-c&client_id=tab") as peer:
        ready = json.loads(await peer.recv())

    assert ("ready", "tab") == (ready["type"], ready["websocket_client_id"])
    assert b"" == stage.scopes[0]["query_string"]
    assert "user-c" not in repr(stage.scopes[0])


@pytest.mark.parametrize(("ended", "code"), [(Unauthenticated(), 4401), (Unavailable(), 1013)])
async def test_a_log_in_that_ended_ends_its_connections(
    stage: _Stage, ended: Exception, code: int
) -> None:
    """All of them, at once; where nobody can tell they may try again later."""
    async with stage.peer("user-a") as one, stage.peer("user-b") as two:
        for peer in (one, two):
            await peer.recv()
        stage.authority.ended = ended
        assert {code} == {await _close_code(one), await _close_code(two)}


async def test_a_log_in_that_expires_ends_its_connection(stage: _Stage) -> None:
    """A connection lives no longer than the token that it began with."""
    stage.authority.lifetime = timedelta(seconds=0.3)
    async with stage.peer() as peer:
        await peer.recv()
        assert 4401 == await _close_code(peer)


async def test_a_defect_ends_one_connection_and_tells_nothing(stage: _Stage) -> None:
    """1011 without the error's words; other connections go on."""
    async with stage.peer("user-a") as one, stage.peer("user-b") as two:
        await two.recv()
        await one.send("fail")
        assert 1011 == await _close_code(one)
        assert one.protocol.close_rcvd is not None
        assert "canary" not in one.protocol.close_rcvd.reason
        await two.send("still here")
        assert "user-b" == json.loads(await two.recv())["user"]


async def test_a_stopping_server_ends_connections_and_admits_none(stage: _Stage) -> None:
    """1001 for who is there, 429 for who comes."""
    async with stage.peer() as peer:
        await peer.recv()
        await stage.edge.drain()
        assert 1001 == await _close_code(peer)
    with pytest.raises(InvalidStatus) as refusal:
        async with stage.peer():
            pass
    assert 429 == refusal.value.response.status_code


async def test_a_peer_that_does_not_read_is_cut_off(stage: _Stage) -> None:
    """It sends and never reads its answers: 1013, and the transport is gone soon after."""
    reader, writer = await _raw_handshake(stage.port)
    writer.write(_masked(json.dumps({"type": "authenticate", "token": "user-a"})))
    text = _masked("x" * 60_000)
    reader._transport.pause_reading()  # type: ignore[attr-defined]  # the peer is the test's own

    async def send_for_ever() -> None:
        while True:
            writer.write(text)
            await writer.drain()

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(send_for_ever(), _SECONDS)
    writer.close()

    await until(lambda: stage.sockets[0].disconnected)
    assert 1013 == stage.sockets[0].ended_with


async def test_a_peer_that_never_answers_the_close_is_cut_off(stage: _Stage) -> None:
    """The closing handshake is not waited for longer than a second."""
    _, writer = await _raw_handshake(stage.port)
    writer.write(_masked(json.dumps({"type": "authenticate", "token": "nobody"})))
    await until(lambda: bool(stage.sockets) and stage.sockets[0].ended_with == 4401)
    await until(lambda: stage.sockets[0].disconnected)
    writer.close()


_PING, _PONG, _PIECE = b"\x89\x80\0\0\0\0", b"\x8a\x80\0\0\0\0", b"\0\x80\0\0\0\0"
_FIRST_PIECE = b"\x01\x80\0\0\0\0"


@pytest.mark.parametrize("frame", [_PING, _PONG, _PIECE])
async def test_a_flood_that_says_nothing_is_cut_off(stage: _Stage, frame: bytes) -> None:
    """Control frames and empty pieces without end: 1008, and others are served meanwhile."""
    _, flood = await _raw_handshake(stage.port)
    flood.write(_masked(json.dumps({"type": "authenticate", "token": "user-b"})))
    await until(lambda: stage.sockets[0].is_known)
    flood.write((_FIRST_PIECE if frame is _PIECE else b"") + frame * 40_000)
    async with stage.peer("user-a") as peer:
        await peer.recv()
        await peer.send("one")
        answer = json.loads(await peer.recv())
    await until(lambda: stage.sockets[0].disconnected)
    flood.close()

    assert "user-a" == answer["user"]
    assert 1008 == stage.sockets[0].ended_with


async def test_a_stranger_may_send_few_frames_that_say_nothing(stage: _Stage) -> None:
    """Seventeen pings before the credential are one too many; sixteen are not."""
    for pings, end in ((16, None), (17, 1008)):
        _, writer = await _raw_handshake(stage.port)
        await until(lambda: bool(stage.sockets))
        socket = stage.sockets.pop()
        writer.write(_PING * pings)
        writer.write(_masked(json.dumps({"type": "authenticate", "token": "user-a"})))
        await until(lambda s=socket: s.is_known or s.ended_with is not None)  # type: ignore[misc]
        assert end == socket.ended_with
        writer.close()


async def test_what_comes_at_once_arrives_in_order(stage: _Stage) -> None:
    """Messages, pieces and sizes that are read in several turns lose nothing and keep order."""
    async with stage.peer() as peer:
        await peer.recv()
        sent = [f"{number}-" + "x" * (number % 7 * 5000) for number in range(40)]
        for text in sent:
            half = len(text) // 2
            await peer.send([text[:half], text[half:]])
        ambient = [json.loads(await peer.recv())["ambient"] for _ in sent]

    assert ["nobody", *sent[:-1]] == ambient


_UPGRADE = (
    b"Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
)
_BAD_HANDSHAKES = {
    "a body": (b"POST /ws HTTP/1.1\r\n" + _UPGRADE + b"Content-Length: 3\r\n\r\nabc", 400),
    "a method": (b"POST /ws HTTP/1.1\r\n" + _UPGRADE + b"\r\n", 405),
    "a key": (b"GET /ws HTTP/1.1\r\n" + _UPGRADE.replace(b"MDEy", b"canary") + b"\r\n", 400),
    "a version": (b"GET /ws HTTP/1.1\r\n" + _UPGRADE.replace(b": 13", b": canary") + b"\r\n", 400),
    "an origin": (b"GET /ws HTTP/1.1\r\nOrigin: canary\r\n" + _UPGRADE + b"\r\n", 403),
    "a path": (b"GET /canary HTTP/1.1\r\n" + _UPGRADE + b"\r\n", 404),
}


@pytest.mark.parametrize("name", _BAD_HANDSHAKES)
async def test_handshakes_are_refused_in_fixed_words(
    stage: _Stage,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """At once, as typed JSON that says what the log says, and nothing that the caller sent."""
    request, status = _BAD_HANDSHAKES[name]
    logged: list[str] = []

    def noted(
        _channel: str, _error: ServiceError, _log: BoundLogger, *, request_id: str = ""
    ) -> None:
        logged.append(request_id)

    for module in (websocket, websocket_handshake):
        monkeypatch.setattr(module, "refuse", noted)
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    writer.write(request)
    async with asyncio.timeout(_SECONDS):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()

    assert str(status) == head.split()[1].decode()
    error = json.loads(body)["error"]
    assert {"code", "message", "request_id"} == error.keys()
    assert [error["request_id"]] == logged
    assert b"canary" not in head + body
    assert [] == [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_handshake_that_does_not_come_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the protocol is given that is no whole request, the connection ends."""
    monkeypatch.setattr(websocket_protocol, "HANDSHAKE_SECONDS", 0.1)
    loop, config = asyncio.get_running_loop(), Config(Starlette(), log_config=None)
    server = await loop.create_server(
        lambda: ClientSocket(config, ServerState(), {}), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"GET /ws HTTP/1.1\r\n")
    async with asyncio.timeout(_SECONDS):
        with contextlib.suppress(ConnectionError):
            assert b"" == await reader.read()
    writer.close()
    server.close()


async def test_another_protocol_is_no_socket_of_ours() -> None:
    """An endpoint behind a server without the bounds says so instead of running without."""
    with pytest.raises(TypeError):
        socket_of({"extensions": {"websocket.http.response": {}}})


async def _raw_handshake(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    key = base64.b64encode(b"0123456789abcdef").decode()
    writer.write(
        f"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


def _masked(text: str) -> bytes:
    """One text frame of a client (RFC 6455, section 5.2), with a mask of zeros."""
    body = text.encode()
    length = len(body).to_bytes(2, "big")
    return b"\x81" + bytes([0x80 | 126]) + length + b"\0\0\0\0" + body
