from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import grpc
import grpc.aio
import pytest

from contracts.context import RequestId, RunId, ThreadId
from contracts.context.carriers.websocket import EventEnvelope
from integration.clients.answers import Refused, Unanswered
from integration.clients.backend_grpc import BackendGrpcClient
from watertight.backend.v1 import backend_pb2
from watertight.backend.v1.backend_pb2_grpc import (
    BackendServiceServicer,
    add_BackendServiceServicer_to_server,
)

AT = datetime(2026, 1, 1, tzinfo=UTC)
Call = grpc.aio.ServicerContext[object, object]


class Servicer(BackendServiceServicer):
    """Answers one method, refuses another, and keeps the metadata."""

    def __init__(self) -> None:
        self.metadata: dict[str, str | bytes] = {}

    async def ListEvents(  # noqa: N802 -- the method's name on the wire
        self, request: backend_pb2.ListEventsRequest, context: Call
    ) -> backend_pb2.ListEventsResponse:
        """One event, the one after what was asked."""
        self.metadata = dict(context.invocation_metadata() or ())
        event = backend_pb2.Event(
            sequence=request.after_sequence + 1,
            type=backend_pb2.EVENT_TYPE_AGENT_STARTED,
            thread_id=request.thread_id,
            run_id="run",
            request_id="request",
        )
        event.created_at.FromDatetime(AT)
        return backend_pb2.ListEventsResponse(events=[event], head_sequence=8)

    async def ListMessages(  # noqa: N802 -- as above
        self, _request: backend_pb2.ListMessagesRequest, context: Call
    ) -> backend_pb2.ListMessagesResponse:
        """A refusal."""
        context.set_trailing_metadata((("x-request-id", "r-1"),))
        await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Servicer, BackendGrpcClient]]:
    """A running server and a client of it."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    servicer = Servicer()  # type: ignore[abstract]  # the other methods are never called
    add_BackendServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with BackendGrpcClient(f"127.0.0.1:{port}", token="x", limit_seconds=5.0) as client:
            yield servicer, client
    finally:
        await server.stop(None)


async def test_message_becomes_the_result_that_http_gives() -> None:
    """The same types come back whichever way an operation went."""
    async with served() as (_, client):
        events = await client.events(ThreadId("t-1"), after_sequence=4)

    expected = EventEnvelope(
        "agent_started", ThreadId("t-1"), RunId("run"), RequestId("request"), 5, "", AT.isoformat()
    )
    assert (expected,) == events.events
    assert b"t-1" in events.answer.body


async def test_operation_sends_its_token_and_trace() -> None:
    """Each operation has its own traceparent, beside the principal's token."""
    async with served() as (servicer, client):
        await client.events(ThreadId("t-1"), traceparent="00-aa-bb-01")

    assert "Bearer x" == servicer.metadata["authorization"]
    assert "00-aa-bb-01" == servicer.metadata["traceparent"]


async def test_refusal_of_the_server_is_a_refusal() -> None:
    """What the server itself says is definite, even when it says that it is unavailable."""
    async with served() as (_, client):
        with pytest.raises(Refused) as refused:
            await client.messages(ThreadId("t-1"))

    assert ("UNAVAILABLE", "not now") == (refused.value.code, refused.value.message)
    assert "r-1" == refused.value.answer.headers["x-request-id"]


async def test_no_server_is_unanswered() -> None:
    """Where nothing listens, nothing was refused."""
    async with BackendGrpcClient("127.0.0.1:1", token="x", limit_seconds=2.0) as client:
        with pytest.raises(Unanswered):
            await client.threads()
