from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2  # type: ignore[import-untyped]
from structlog.testing import capture_logs

from contracts.context import (
    MEMBER_SCOPES,
    Principal,
    RequestId,
    Scope,
    SessionId,
    TenantId,
    ThreadId,
    UserExecutionContext,
    UserId,
    encode,
)
from services.runtime import grpc_request, grpc_standard, readiness
from services.runtime.boundaries import Boundaries
from services.runtime.calls import EdgeCall, HopCall
from services.runtime.errors import NotFound, Unauthenticated, Unavailable
from services.runtime.grpc_server import GrpcServer
from services.runtime.http import BoundaryMissing
from services.runtime.metrics import REFUSALS
from services.runtime.telemetry import configure_telemetry
from services.runtime.tests.signing import Signer
from services.runtime.tokens import TokenVerifier
from services.runtime.workload import WorkloadVerifier
from watertight.analytics.v1 import analytics_pb2
from watertight.backend.v1 import backend_pb2

_ANALYTICS = analytics_pb2.DESCRIPTOR.services_by_name["AnalyticsService"]
_BACKEND = backend_pb2.DESCRIPTOR.services_by_name["BackendService"]
_NOW = datetime.now(UTC).replace(microsecond=0)
_TRACE = "0af7651916cd43dd8448eb211c80319c"


class _Sessions:
    """Knows one session that has ended, and whether it knows anything."""

    stale = False

    def require_live(self, session_id: SessionId) -> None:
        """See `LiveSessions`."""
        if session_id == "ended":
            raise Unauthenticated
        if self.stale:
            raise Unavailable


class _OneToken:
    """Knows one access token."""

    async def authenticate(self, access_token: str) -> Principal:
        """See `Authenticator`."""
        if access_token != "good":
            raise Unauthenticated
        return Principal(
            TenantId("tenant-1"),
            UserId("user-1"),
            SessionId("session-1"),
            MEMBER_SCOPES - {Scope.THREADS_WRITE},
            _NOW + timedelta(hours=1),
        )


class _Servicer:
    """Notes the calls that reach it."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.fails: Exception | None = None
        self.hangs = False

    async def _answer(self, call: Any) -> None:
        self.calls.append(call)
        if self.fails is not None:
            raise self.fails
        if self.hangs:
            await asyncio.Event().wait()

    def __getattr__(self, name: str) -> Any:
        """Any other method of a service."""

        async def other(_request: Any, call: Any) -> Any:
            await self._answer(call)
            return backend_pb2.ListThreadsResponse()

        if name.startswith("__"):
            raise AttributeError(name)
        return other


class _Running:
    """A server for analytics (hops) and backend (edges)."""

    def __init__(self) -> None:
        self.signer = Signer()
        self.sessions = _Sessions()
        self.servicer = _Servicer()
        self.ready = {"postgres": True}
        boundaries = Boundaries(
            "analytics",
            authenticator=_OneToken(),
            tokens=TokenVerifier(self.signer.fetch),
            sessions=self.sessions,
        )
        self.server = GrpcServer(boundaries, configure_telemetry("analytics", ""), self.readiness)
        self.server.add_service(_ANALYTICS, self.servicer)
        self.server.add_service(_BACKEND, self.servicer)
        self.channel: grpc.aio.Channel

    async def readiness(self) -> Mapping[str, bool]:
        """As set."""
        return self.ready

    async def call(
        self,
        method: str,
        *metadata: tuple[str, str | bytes],
        body: bytes = b"",
        timeout: float = 5,  # noqa: ASYNC109 -- gRPC's own
    ) -> grpc.StatusCode:
        """The status of a call."""
        stub: Any = self.channel.unary_unary(f"/{method}")
        made = stub(body, metadata=metadata, timeout=timeout)
        try:
            await made
        except grpc.aio.AioRpcError as error:
            self.details = error.details()
        self.said = dict(await made.trailing_metadata())
        status: grpc.StatusCode = await made.code()
        return status

    def token(self, **claims: Any) -> tuple[str, str]:
        """The metadata of a transaction token that is valid but for these claims."""
        times = {"iat": int(_NOW.timestamp()), "exp": int((_NOW + _HOUR).timestamp())}
        return "txn-token", self.signer.transaction(**{**times, **claims})


_Metadata = tuple[tuple[str, str | bytes], ...]
_HOUR = timedelta(hours=1)
_USAGE = "watertight.analytics.v1.AnalyticsService/GetThreadUsage"
_LIST = "watertight.backend.v1.BackendService/ListThreads"
_CREATE = "watertight.backend.v1.BackendService/CreateThread"
_CONTEXT_KEY = "x-execution-context-bin"
_GOOD = ("authorization", "Bearer good")


def _context(**fields: Any) -> UserExecutionContext:
    whole: dict[str, Any] = {
        "tenant_id": TenantId("tenant-1"),
        "user_id": UserId("user-1"),
        "thread_id": ThreadId("thread-1"),
        "request_id": RequestId("request-2"),
        "parent_request_id": RequestId("request-1"),
        "operation_depth": 1,
        "scopes": frozenset({Scope.USAGE_READ}),
        "issued_at": _NOW,
        "expires_at": _NOW + timedelta(minutes=59),
    }
    return UserExecutionContext(**{**whole, **fields})


def _carried(**fields: Any) -> tuple[str, bytes]:
    return _CONTEXT_KEY, encode(_context(**fields))


@pytest.fixture
async def running() -> AsyncIterator[_Running]:
    """A server of its own for each test."""
    running = _Running()
    port = await running.server.start("127.0.0.1", 0)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        running.channel = channel
        yield running
    await running.server.stop(0)


async def test_a_hop_is_given_its_context(running: _Running) -> None:
    """The handler gets the context that the token speaks for, and continues the caller's trace."""
    traceparent = ("traceparent", f"00-{_TRACE}-b7ad6b7169203331-01")
    status = await running.call(_USAGE, running.token(), _carried(), traceparent)
    (call,) = running.servicer.calls

    assert grpc.StatusCode.OK == status
    assert isinstance(call, HopCall)
    assert _context() == call.context
    assert _TRACE == call.trace.trace_id
    assert "b7ad6b7169203331" != call.trace.span_id


_EXPIRED = {"issued_at": _NOW - 2 * _HOUR, "expires_at": _NOW - timedelta(seconds=1)}
_REFUSED_CONTEXTS: dict[str, tuple[dict[str, Any], str]] = {
    "another tenant": ({"tenant_id": TenantId("tenant-2")}, "PERMISSION_DENIED"),
    "another user": ({"user_id": UserId("user-2")}, "PERMISSION_DENIED"),
    "another thread": ({"thread_id": ThreadId("thread-2")}, "PERMISSION_DENIED"),
    "no thread": ({"thread_id": None}, "PERMISSION_DENIED"),
    "a scope more": (
        {"scopes": frozenset({Scope.USAGE_READ, Scope.USAGE_WRITE})},
        "PERMISSION_DENIED",
    ),
    "a scope less": ({"scopes": frozenset()}, "PERMISSION_DENIED"),
    "a later end": ({"expires_at": _NOW + 2 * _HOUR}, "PERMISSION_DENIED"),
    "expired": (_EXPIRED, "UNAUTHENTICATED"),
    "from the future": ({"issued_at": _NOW + timedelta(minutes=30)}, "UNAUTHENTICATED"),
}


@pytest.mark.parametrize("name", _REFUSED_CONTEXTS)
async def test_contexts_that_a_hop_refuses(running: _Running, name: str) -> None:
    """A context that its token does not speak for, or is out of time, reaches no handler."""
    fields, code = _REFUSED_CONTEXTS[name]
    before = REFUSALS.labels("grpc", code)._value.get()
    status = await running.call(_USAGE, running.token(), _carried(**fields))

    assert code == status.name
    assert [] == running.servicer.calls
    assert before + 1 == REFUSALS.labels("grpc", code)._value.get()


async def test_carriers_that_a_hop_refuses(running: _Running) -> None:
    """Absent, repeated, oversized and unreadable carriers reach no handler."""
    token, context = running.token(), _carried()
    ended = {"tenant_id": "tenant-1", "session_id": "ended", "thread_id": "thread-1"}
    malformed: dict[str, tuple[_Metadata, str]] = {
        "nothing": ((), "UNAUTHENTICATED"),
        "no context": ((token,), "UNAUTHENTICATED"),
        "no token": ((context,), "UNAUTHENTICATED"),
        "Bearer alone": ((_GOOD,), "UNAUTHENTICATED"),
        "Bearer and context": ((_GOOD, context), "UNAUTHENTICATED"),
        "two tokens": ((token, token, context), "INVALID_ARGUMENT"),
        "two contexts": ((token, context, context), "INVALID_ARGUMENT"),
        "no message": ((token, (_CONTEXT_KEY, b"\xff\xff")), "INVALID_ARGUMENT"),
        "empty": ((token, (_CONTEXT_KEY, b"")), "UNAUTHENTICATED"),
        "oversized": ((token, (_CONTEXT_KEY, b"x" * 1025)), "INVALID_ARGUMENT"),
        "made up": ((("txn-token", "a.b.c"), context), "UNAUTHENTICATED"),
        "an ended session": (
            (running.token(tctx=ended), context),
            "UNAUTHENTICATED",
        ),
    }
    for name, (metadata, code) in malformed.items():
        status = await running.call(_USAGE, *metadata)
        assert code == status.name, name

    assert [] == running.servicer.calls


async def test_a_stale_feed_serves_nobody(running: _Running) -> None:
    """Who cannot tell whether the session lives says that it cannot answer."""
    running.sessions.stale = True

    assert grpc.StatusCode.UNAVAILABLE == await running.call(_USAGE, running.token(), _carried())
    assert [] == running.servicer.calls


async def test_every_answer_says_for_which_request(running: _Running) -> None:
    """Refused or not, the caller is told the request's identifier: the service has spoken."""
    refused = await running.call(_LIST)
    of_refused = running.said["x-request-id"]
    answered = await running.call(_LIST, _GOOD)
    (call,) = running.servicer.calls

    assert (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.OK) == (refused, answered)
    assert isinstance(call, EdgeCall)
    assert call.context.request_id == running.said["x-request-id"]
    assert of_refused
    assert of_refused != call.context.request_id


async def test_an_edge_reads_its_bearer_alone(running: _Running) -> None:
    """Context metadata from outside changes nothing; the principal is the token's."""
    forged = _carried(user_id=UserId("user-2"))
    status = await running.call(_LIST, _GOOD, forged, ("txn-token", "x"), ("x-workload-token", "x"))
    (call,) = running.servicer.calls

    assert grpc.StatusCode.OK == status
    assert isinstance(call, EdgeCall)
    assert ("user-1", 0, None) == (
        call.context.user_id,
        call.context.operation_depth,
        call.context.thread_id,
    )


async def test_an_edge_takes_no_hop(running: _Running) -> None:
    """A valid hop is no credential at an edge."""
    status = await running.call(_LIST, running.token(), _carried())

    assert grpc.StatusCode.UNAUTHENTICATED == status


async def test_a_scope_is_asked_for(running: _Running) -> None:
    """A method that asks for a scope is not reached without it; the lines say who lacked it."""
    with capture_logs() as lines:
        assert grpc.StatusCode.PERMISSION_DENIED == await running.call(_CREATE, _GOOD)
    assert [("refused", "user-1"), ("answered", "user-1")] == [
        (line["event"], line["user_id"]) for line in lines
    ]
    assert [] == running.servicer.calls


async def test_requests_are_parsed_behind_the_boundary(running: _Running) -> None:
    """Bytes that are no message are told so to a known caller, and not looked at for another."""
    garbage = b"\xff\xff\xff"
    method = "watertight.backend.v1.BackendService/ListMessages"

    assert grpc.StatusCode.UNAUTHENTICATED == await running.call(method, body=garbage)
    assert grpc.StatusCode.INVALID_ARGUMENT == await running.call(method, _GOOD, body=garbage)
    assert [] == running.servicer.calls


async def test_errors_are_told_in_fixed_words(running: _Running) -> None:
    """A typed error is told as it is; any other says nothing of what went wrong."""
    running.servicer.fails = NotFound()
    assert grpc.StatusCode.NOT_FOUND == await running.call(_LIST, _GOOD)
    running.servicer.fails = ValueError("somebody's content")
    assert grpc.StatusCode.INTERNAL == await running.call(_LIST, _GOOD)

    assert "the service failed" == running.details


async def test_a_deadline_ends_the_handler(running: _Running) -> None:
    """A handler that takes longer than its caller waits is ended."""
    running.servicer.hangs = True

    assert grpc.StatusCode.DEADLINE_EXCEEDED == await running.call(_LIST, _GOOD, timeout=0.2)


async def test_too_much_at_once(running: _Running) -> None:
    """A message over 64 KiB is refused by its size."""
    status = await running.call(_LIST, _GOOD, body=b"x" * 70_000)

    assert grpc.StatusCode.RESOURCE_EXHAUSTED == status


async def test_health_follows_readiness(running: _Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not serving while something that the service needs does not answer, or when it ends."""
    monkeypatch.setattr(readiness, "REMEMBERED_SECONDS", 0.0)
    check: Any = running.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    request = health_pb2.HealthCheckRequest(service=_BACKEND.full_name)
    statuses = [(await check(request)).status]
    running.ready = {"postgres": False}
    statuses.append((await check(request)).status)
    running.ready = {"postgres": True}
    await running.server.enter_shutdown()
    statuses.append((await check(request)).status)

    assert [1, 2, 2] == statuses


async def test_many_calls_on_one_connection(running: _Running) -> None:
    """More calls at once than a connection may have wait for one another."""
    stub: Any = running.channel.unary_unary(f"/{_LIST}")
    codes = await _codes([stub(b"", metadata=(_GOOD,)) for _ in range(600)])

    assert {"OK"} == codes


async def _silence() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


async def _code(call: Any) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


async def _codes(calls: list[Any]) -> set[str]:
    async with asyncio.timeout(10):
        return set(await asyncio.gather(*map(_code, calls)))


async def test_silent_strangers_hold_no_calls(running: _Running) -> None:
    """Calls whose request does not come are refused by their metadata; others are answered."""
    method: Any = running.channel.stream_unary(f"/{_LIST}")
    silent = [method(_silence()) for _ in range(300)]
    status = await running.call(_LIST, _GOOD)
    codes = await _codes(silent)

    assert grpc.StatusCode.OK == status
    assert {"UNAUTHENTICATED"} == codes


async def test_requests_are_waited_for_with_a_limit(
    running: _Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A known caller whose request does not come is told so, and so is one who sends none."""
    monkeypatch.setattr(grpc_request, "REQUEST_SECONDS", 0.2)
    method: Any = running.channel.stream_unary(f"/{_LIST}")
    codes = [await _codes([method(one(), metadata=(_GOOD,))]) for one in (_silence, _nothing)]

    assert 2 * [{"INVALID_ARGUMENT"}] == codes
    assert [] == running.servicer.calls


_CHECK = "/grpc.health.v1.Health/Check"
_REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
_WATCH = "/grpc.health.v1.Health/Watch"


async def _read_all(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


@pytest.mark.parametrize(
    ("method", "code"),
    [
        (_CHECK, "INVALID_ARGUMENT"),
        (_WATCH, "INVALID_ARGUMENT"),
        (_REFLECTION, "DEADLINE_EXCEEDED"),
    ],
)
async def test_silence_ends_standard_calls(
    running: _Running, monkeypatch: pytest.MonkeyPatch, method: str, code: str
) -> None:
    """Health and reflection are open to anybody, and wait for nobody without a limit."""
    monkeypatch.setattr(grpc_request, "REQUEST_SECONDS", 0.2)
    monkeypatch.setattr(grpc_standard, "STANDARD_SECONDS", 0.5)
    stub: Any = running.channel.stream_stream(method)

    assert {code} == await _codes([_read_all(stub(_silence()))])


async def test_watchers_are_few_and_told_to_ask_again(
    running: _Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More watchers than there may be are refused; the others end in time."""
    monkeypatch.setattr(grpc_standard, "MAXIMUM_STANDARD_CALLS", 2)
    monkeypatch.setattr(grpc_standard, "WATCH_SECONDS", 0.5)
    stub: Any = running.channel.unary_stream(_WATCH)
    watching = [stub(b"") for _ in range(2)]
    first = [await one.read() for one in watching]
    third = await _codes([_read_all(stub(b""))])
    ends = await _codes([_read_all(one) for one in watching])

    assert 2 * [b"\x08\x01"] == first
    assert ({"RESOURCE_EXHAUSTED"}, {"DEADLINE_EXCEEDED"}) == (third, ends)


def _server(boundaries: Boundaries) -> GrpcServer:
    async def readiness() -> Mapping[str, bool]:
        return {}

    return GrpcServer(boundaries, configure_telemetry("x", ""), readiness)


async def test_a_method_without_a_boundary_is_not_served() -> None:
    """A service whose methods do not say who may call them stops the start."""
    server = _server(Boundaries("x", authenticator=_OneToken()))
    with pytest.raises(BoundaryMissing, match=r"grpc\.health\.v1\.Health/Check"):
        server.add_service(health_pb2.DESCRIPTOR.services_by_name["Health"], _Servicer())
    await server.stop(0)


async def test_a_boundary_that_cannot_be_verified_is_not_served() -> None:
    """A server that cannot verify hops serves none; nor one that lacks a method."""
    server = _server(Boundaries("x", workloads=WorkloadVerifier({})))
    with pytest.raises(BoundaryMissing):
        server.add_service(_ANALYTICS, _Servicer())
    with pytest.raises(NotImplementedError, match="record_usage"):
        server.add_service(_ANALYTICS, object())
    await server.stop(0)
