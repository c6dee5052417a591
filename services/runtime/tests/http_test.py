from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Response
from structlog.testing import capture_logs

from contracts.context import (
    MEMBER_SCOPES,
    Principal,
    Scope,
    SessionId,
    TenantId,
    UserId,
)
from services.runtime import http_boundary, http_server
from services.runtime.boundaries import Boundaries
from services.runtime.calls import EdgeCall, PublicCall
from services.runtime.errors import NotFound, Unauthenticated
from services.runtime.http import (
    BoundaryMissing,
    BoundaryRoute,
    answers,
    create_app,
    edge,
    public,
)
from services.runtime.http_server import HttpServer
from services.runtime.telemetry import configure_telemetry
from services.runtime.text import Content, Name, RequestBody, Sequence64
from tools.processes.waiting import until

_AMBIENT: ContextVar[str] = ContextVar("ambient", default="nobody")
_TRACE = "0af7651916cd43dd8448eb211c80319c"


class Note(RequestBody):
    """A body."""

    title: Name
    text: Content = "nothing"
    after: Sequence64 = 0


class _OneToken:
    async def authenticate(self, access_token: str) -> Principal:
        """See `Authenticator`."""
        if access_token != "good":
            raise Unauthenticated
        return Principal(
            TenantId("tenant-1"),
            UserId("user-1"),
            SessionId("session-1"),
            MEMBER_SCOPES,
            datetime.now(UTC) + timedelta(minutes=5),
        )


class _Routes:
    """A few routes, and what reached them."""

    def __init__(self) -> None:
        self.calls: list[EdgeCall | PublicCall] = []
        self.bodies: list[Note] = []
        self.fails: Exception | None = None
        self.release = asyncio.Event()
        self.router = APIRouter(route_class=BoundaryRoute)
        self.router.add_api_route("/notes", self.write, methods=["POST"])
        self.router.add_api_route("/notes", self.read, methods=["GET"])
        self.router.add_api_route("/totals", self.totals, methods=["GET"])
        self.router.add_api_route("/wait", self.wait, methods=["GET"])
        self.router.add_api_route("/wait-known", self.wait_known, methods=["GET"])
        self.router.add_api_route("/open", self.take, methods=["POST"])
        self.router.add_api_route("/ambient", self.ambient, methods=["GET"])

    async def write(
        self, call: Annotated[EdgeCall, edge(Scope.THREADS_WRITE)], body: Note
    ) -> Response:
        """Notes call and body."""
        self.calls.append(call)
        self.bodies.append(body)
        return Response(status_code=204)

    async def read(self, call: Annotated[EdgeCall, edge(Scope.THREADS_READ)]) -> Response:
        """Notes the call, or fails."""
        self.calls.append(call)
        if self.fails is not None:
            raise self.fails
        return Response(status_code=204)

    async def totals(self, call: Annotated[EdgeCall, edge(Scope.TENANT_USAGE)]) -> Response:
        """Asks for a scope that members lack."""
        self.calls.append(call)
        return Response(status_code=204)

    async def wait(self, call: Annotated[PublicCall, public()]) -> Response:
        """Waits to be released."""
        self.calls.append(call)
        await self.release.wait()
        return Response(status_code=204)

    async def wait_known(self, call: Annotated[EdgeCall, edge()]) -> Response:
        """Waits to be released."""
        self.calls.append(call)
        await self.release.wait()
        return Response(status_code=204)

    async def take(self, call: Annotated[PublicCall, public()], body: Note) -> Response:
        """Takes a body from anybody."""
        self.calls.append(call)
        self.bodies.append(body)
        return Response(status_code=204)

    async def ambient(self, call: Annotated[PublicCall, public()]) -> dict[str, str]:
        """What an earlier request left behind, and leaves something itself."""
        before = _AMBIENT.get()
        _AMBIENT.set(call.request_id)
        return {"before": before}


@pytest.fixture
def routes() -> _Routes:
    """Routes of their own for each test."""
    return _Routes()


@pytest.fixture
async def server(routes: _Routes) -> AsyncIterator[httpx.AsyncClient]:
    """The routes behind a real server."""

    async def readiness() -> Mapping[str, bool]:
        return {"postgres": True}

    app = create_app(
        "probe",
        routers=[routes.router],
        boundaries=Boundaries("probe", authenticator=_OneToken()),
        telemetry=configure_telemetry("probe", ""),
        readiness=readiness,
    )
    running = HttpServer(app, host="127.0.0.1", port=0, websocket_protocol="auto", grace_seconds=1)
    port = await running.listen()
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=5
    ) as client:
        yield client
    await running.finish()


_GOOD = {"authorization": "Bearer good"}


def _error(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["message"]


async def test_a_route_is_given_its_verified_call(
    routes: _Routes, server: httpx.AsyncClient
) -> None:
    """The handler gets the token's principal and the caller's trace, and no header's context."""
    answer = await server.get(
        "/notes",
        headers={
            **_GOOD,
            "traceparent": f"00-{_TRACE}-b7ad6b7169203331-00",
            "x-execution-context-bin": "x",
            "txn-token": "x",
        },
    )
    (call,) = routes.calls

    assert 204 == answer.status_code
    assert isinstance(call, EdgeCall)
    assert ("tenant-1", "user-1") == (call.context.tenant_id, call.context.user_id)
    assert _TRACE == call.trace.trace_id
    assert "good" not in repr(call)


async def test_every_answer_says_for_which_request(
    routes: _Routes, server: httpx.AsyncClient
) -> None:
    """`x-request-id` is the call's, whether it ends well or not, and every refusal's body's."""
    served = await server.get("/notes", headers=_GOOD)
    routes.fails = NotFound()
    refused = await server.get("/notes", headers=_GOOD)
    strangers = [await server.get("/notes"), await server.get("/nowhere")]

    assert [call.request_id for call in routes.calls] == [
        answer.headers["x-request-id"] for answer in (served, refused)
    ]
    for answer in (refused, *strangers):
        assert answer.json()["error"]["request_id"] == answer.headers["x-request-id"]


async def test_the_boundary_stands_before_the_body(
    routes: _Routes, server: httpx.AsyncClient
) -> None:
    """A caller without a credential learns nothing of what is wrong with its body."""
    answer = await server.post("/notes", content=b"{")

    assert (401, "UNAUTHENTICATED") == _error(answer)[:2]
    assert "Bearer" == answer.headers["www-authenticate"]
    assert [] == routes.calls


async def test_a_scope_is_asked_for(routes: _Routes, server: httpx.AsyncClient) -> None:
    """A caller whose token lacks the route's scope is refused before the handler."""
    answer = await server.get("/totals", headers=_GOOD)

    assert (403, "PERMISSION_DENIED") == _error(answer)[:2]
    assert [] == routes.calls


async def test_a_known_caller_is_named_where_it_is_refused(server: httpx.AsyncClient) -> None:
    """Who lacks a scope is known all the same: the lines say who it was, and the told request."""
    with capture_logs() as lines:
        answer = await server.get("/totals", headers=_GOOD)

    assert ["refused", "answered"] == [line["event"] for line in lines]
    assert {("user-1", answer.headers["x-request-id"])} == {
        (line["user_id"], line["request_id"]) for line in lines
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"title": "x", "evil": 1}, "body: expected no unknown fields"),
        ({}, "body.title: Field required"),
        ({"title": 1}, "body.title: Input should be a valid string"),
        ({"title": "a\x00"}, "body.title: expected no NUL characters and no surrogates"),
        (
            {"title": "x", "after": 2**63},
            f"body.after: Input should be less than or equal to {2**63 - 1}",
        ),
        ({"title": "x", "after": "1"}, "body.after: Input should be a valid integer"),
        ({"title": "x", "text": ""}, "body.text: String should have at least 1 character"),
    ],
)
async def test_bodies_are_told_by_field(
    routes: _Routes, server: httpx.AsyncClient, body: object, message: str
) -> None:
    """A refusal names the field and what was expected of it, and quotes nothing."""
    answer = await server.post("/notes", json=body, headers=_GOOD)

    assert (400, "INVALID_ARGUMENT", message) == _error(answer)
    assert [] == routes.bodies


async def test_bodies_over_the_limit(routes: _Routes, server: httpx.AsyncClient) -> None:
    """More than 64 KiB is refused, announced or not."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(70):
            yield b" " * 1024

    for content in (b" " * 70_000, chunks()):
        answer = await server.post("/notes", content=content, headers=_GOOD)
        assert (413, "RESOURCE_EXHAUSTED") == _error(answer)[:2]
    assert [] == routes.bodies


async def test_content_that_fits_arrives_whole(routes: _Routes, server: httpx.AsyncClient) -> None:
    """What is within the limits arrives as it was sent."""
    text = "line\n" + "\u00e9" * 8000
    await server.post("/notes", json={"title": "\u00e9" * 32, "text": text}, headers=_GOOD)
    (body,) = routes.bodies

    assert text == body.text


async def test_failures_say_nothing(routes: _Routes, server: httpx.AsyncClient) -> None:
    """Typed errors are told as they are; any other is a 500 in fixed words."""
    told = []
    for error in (NotFound(), ValueError("somebody's content"), TimeoutError(), OSError("x")):
        routes.fails = error
        told.append(_error(await server.get("/notes", headers=_GOOD)))

    assert [
        (404, "NOT_FOUND", "there is no such object"),
        (500, "INTERNAL", "the service failed"),
        (504, "DEADLINE_EXCEEDED", "the request took longer than its limit"),
        (503, "UNAVAILABLE", "the service cannot answer now; try again later"),
    ] == told


async def test_a_request_has_a_limit(
    server: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler that takes too long is ended, and so is a body that does not come."""
    monkeypatch.setattr(http_boundary, "REQUEST_SECONDS", 0.2)

    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(2)

    assert 504 == (await server.get("/wait")).status_code
    assert 504 == (await server.post("/notes", content=never(), headers=_GOOD)).status_code


@pytest.mark.parametrize(
    ("limit", "refused"),
    [("MAXIMUM_PUBLIC_REQUESTS", {}), ("MAXIMUM_REQUESTS", {"authorization": "Bearer good"})],
)
async def test_too_many_at_once(
    routes: _Routes,
    server: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    refused: dict[str, str],
) -> None:
    """Requests beyond their kind's limit are refused at once, and all others are answered."""
    monkeypatch.setattr(http_boundary, limit, 2)
    path, other = ("/wait-known", "/ambient") if refused else ("/wait", "/notes")
    waiting = [asyncio.create_task(server.get(path, headers=refused)) for _ in range(2)]
    await until(lambda: len(routes.calls) >= 2)
    answer = await server.get(path, headers=refused)
    of_another_kind = await server.get(other, headers=_GOOD)
    routes.release.set()

    assert (429, "RESOURCE_EXHAUSTED") == _error(answer)[:2]
    assert [204, 204] == [(await one).status_code for one in waiting]
    assert of_another_kind.is_success


async def test_slow_strangers_keep_out_nobody_known(
    server: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bodies that anybody may send have a short limit and room of their own."""
    monkeypatch.setattr(http_boundary, "PUBLIC_BODY_SECONDS", 0.5)
    monkeypatch.setattr(http_boundary, "MAXIMUM_REQUESTS", 20)
    monkeypatch.setattr(http_boundary, "MAXIMUM_PUBLIC_REQUESTS", 20)
    slow = []
    for _ in range(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.base_url.port)
        writer.write(b"POST /open HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{")
        slow.append((reader, writer))
    async with asyncio.timeout(5):
        first = (await slow[-1][0].readline()).split()[1]
        known = await server.get("/notes", headers=_GOOD)
        told = [(await reader.readline()).split()[1] for reader, _ in slow[:20]]
    for _, writer in slow:
        writer.close()

    assert (b"429", 204) == (first, known.status_code)
    assert 20 * [b"400"] == told


@pytest.mark.parametrize(
    "body",
    [
        b'{"title":"a","title":"b"}',
        '{"title":"sixteen"}'.encode("utf-16"),
        b'\xef\xbb\xbf{"title":"mark"}',
        b'{"title":"\xff"}',
        b'{"title":"x","after":NaN}',
        b"[" * 60_000,
    ],
)
async def test_json_is_read_strictly(
    routes: _Routes, server: httpx.AsyncClient, body: bytes
) -> None:
    """UTF-8 alone, and no name twice: no two readers can take it for different things."""
    headers = {**_GOOD, "content-type": "application/json"}
    answer = await server.post("/notes", content=body, headers=headers)

    assert (400, "INVALID_ARGUMENT", "body: expected JSON in UTF-8") == _error(answer)
    assert [] == routes.bodies


async def test_nothing_ambient_outlives_a_request(server: httpx.AsyncClient) -> None:
    """A context variable of one request is not the next one's on the same connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.base_url.port)
    # Together: the end of the first is what starts the second.
    writer.write(b"GET /ambient HTTP/1.1\r\nhost: x\r\n\r\n" * 2)
    writer.write(b"GET /ambient HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    async with asyncio.timeout(5):
        answers_ = await reader.read()
    writer.close()

    assert 3 == answers_.count(b'{"before":"nobody"}')


async def test_slow_headers_end_the_connection(
    server: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection whose headers do not come in time, or at all, is ended."""
    monkeypatch.setattr(http_server, "HEADER_SECONDS", 0.2)
    for begun in (b"", b"GET /health/live HTTP/1.1\r\nhost:"):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.base_url.port)
        writer.write(begun)
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionResetError):
                assert b"" == await reader.read()
        writer.close()


async def test_headers_without_end(server: httpx.AsyncClient) -> None:
    """Headers that go on beyond the limit end the connection with a typed answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.base_url.port)
    writer.write(b"GET / HTTP/1.1\r\n")
    for _ in range(20):
        writer.write(b"x-more: " + b"x" * 1000 + b"\r\n")
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()

    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert "INVALID_ARGUMENT" == json.loads(answer.split(b"\r\n\r\n")[1])["error"]["code"]


_CHUNKED = b"POST /notes HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n"


async def test_trailers_are_no_headers(routes: _Routes, server: httpx.AsyncClient) -> None:
    """A credential after the body authenticates nobody."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.base_url.port)
    body = b'{"title":"x"}'
    writer.write(_CHUNKED + b"content-type: application/json\r\n\r\n")
    writer.write(b"%x\r\n%b\r\n0\r\nauthorization: Bearer good\r\n\r\n" % (len(body), body))
    async with asyncio.timeout(5):
        status = await reader.readline()
    writer.close()

    assert b"HTTP/1.1 401 Unauthorized\r\n" == status
    assert [] == routes.calls


async def _write(writer: asyncio.StreamWriter, data: bytes, *, times: int) -> None:
    for _ in range(times):
        writer.write(data)
        await writer.drain()


async def test_trailers_without_end(server: httpx.AsyncClient) -> None:
    """What follows the last chunk is bounded in bytes, before an answer and after it."""
    flood = b"".join(b"a%d: b\r\n" % i for i in range(5000))
    for credential in (b"", b"authorization: Bearer good\r\n"):
        _, writer = await asyncio.open_connection("127.0.0.1", server.base_url.port)
        writer.write(_CHUNKED + credential + b"\r\n0\r\n")
        with pytest.raises(ConnectionError):
            await _write(writer, flood, times=600)
        writer.close()


@pytest.mark.parametrize("credential", [b"", b"authorization: Bearer good\r\n"])
async def test_bodies_without_end(
    server: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, credential: bytes
) -> None:
    """A body that does not end, ends its connection: soon after its answer, or without one."""
    monkeypatch.setattr(http_server, "LINGER_SECONDS", 0.2)
    monkeypatch.setattr(http_server, "BODY_SECONDS", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.base_url.port)
    writer.write(_CHUNKED + credential + b"\r\n0\r\na: ")
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
    writer.close()


async def test_a_body_that_ends_after_its_answer(server: httpx.AsyncClient) -> None:
    """The connection goes on with the next request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.base_url.port)
    writer.write(_CHUNKED + b"\r\n1\r\nx\r\n")
    async with asyncio.timeout(5):
        first = await reader.readuntil(b"}}")
        writer.write(b"0\r\n\r\nGET /ambient HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        second = await reader.read()
    writer.close()

    assert b"HTTP/1.1 401 Unauthorized\r\n" == first[:27]
    assert second.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_empty_lines_keep_no_connection(
    server: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Line ends between two requests do not count as one."""
    monkeypatch.setattr(http_server, "KEEP_ALIVE_SECONDS", 0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.base_url.port)
    writer.write(b"GET /ambient HTTP/1.1\r\nhost: x\r\n\r\n")

    async def send_line_ends() -> None:
        while True:
            writer.write(b"\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)

    sending = asyncio.create_task(send_line_ends())
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionError):
            await reader.read()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    writer.close()


async def test_openapi_tells_what_is_answered(server: httpx.AsyncClient) -> None:
    """Errors are documented in their own shape, and no 422, which is never answered."""
    schema = (await server.get("/openapi.json")).json()
    responses = schema["paths"]["/notes"]["post"]["responses"]

    assert "422" not in responses
    reference = responses["default"]["content"]["application/json"]["schema"]["$ref"]
    assert "#/components/schemas/ErrorBody" == reference
    assert [{"HTTPBearer": []}] == schema["paths"]["/notes"]["post"]["security"]


def _app(router: APIRouter) -> None:
    async def readiness() -> Mapping[str, bool]:
        return {}

    create_app(
        "probe",
        routers=[router],
        boundaries=Boundaries("probe"),
        telemetry=configure_telemetry("probe", ""),
        readiness=readiness,
    )


def test_a_route_without_a_boundary_is_not_served() -> None:
    """A route that does not say who may call it stops the start."""

    async def open_to_all() -> None:
        """Says nothing of its callers."""

    plain = APIRouter()
    plain.add_api_route("/open", open_to_all)
    with pytest.raises(BoundaryMissing):
        _app(plain)
    router = APIRouter(route_class=BoundaryRoute)
    with pytest.raises(BoundaryMissing):
        router.add_api_route("/open", open_to_all)


async def test_answers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Yes is yes; no, a failure and silence are no."""
    from services.runtime import http

    monkeypatch.setattr(http, "READINESS_SECONDS", 0.05)

    async def say(*, yes: bool) -> bool:
        return yes

    async def fail() -> bool:
        raise OSError

    async def be_silent() -> bool:
        await asyncio.Event().wait()
        return True

    told = [await answers(q) for q in (say(yes=True), say(yes=False), fail(), be_silent())]

    assert [True, False, False, False] == told
