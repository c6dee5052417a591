"""The backend's gRPC interface: the same operations as over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Self, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message as ProtobufMessage

from contracts.context import RunId, ThreadId
from integration.clients.answers import Answer, Refused, Unanswered
from integration.clients.connections import DEFAULT_LIMIT_SECONDS
from integration.clients.results import (
    CreatedThread,
    Events,
    Messages,
    SentMessage,
    Threads,
    ThreadUsage,
)
from watertight.backend.v1 import backend_pb2
from watertight.backend.v1.backend_pb2_grpc import BackendServiceStub

_Request = TypeVar("_Request", bound=ProtobufMessage)
_Response = TypeVar("_Response", bound=ProtobufMessage)

# A server that has spoken says for which request; without that, the channel failed on its own.
_REQUEST_ID_KEY: Final = "x-request-id"
_ROLES: Final = {
    backend_pb2.MESSAGE_ROLE_USER: "user",
    backend_pb2.MESSAGE_ROLE_AGENT: "agent",
}
_EVENT_PREFIX: Final = "EVENT_TYPE_"


class BackendGrpcClient:
    """One principal's client of the backend. Every method takes the `traceparent` of its operation.

    Every method may raise `Refused`, `Unexpected` and `Unanswered`.

    Args:
        service: `host:port`, or a channel that somebody else closes.
        token: the principal's access token.
        limit_seconds: for one whole operation.
    """

    def __init__(
        self,
        service: str | grpc.aio.Channel,
        *,
        token: str,
        limit_seconds: float = DEFAULT_LIMIT_SECONDS,
    ) -> None:
        self.token = token
        self._owned = isinstance(service, str)
        self._channel = grpc.aio.insecure_channel(service) if isinstance(service, str) else service
        self._stub = BackendServiceStub(self._channel)
        self._limit_seconds = limit_seconds

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the channel that this client made for itself."""
        if self._owned:
            await self._channel.close()

    async def create_thread(self, title: str, *, traceparent: str | None = None) -> CreatedThread:
        """Opens a conversation."""
        request = backend_pb2.CreateThreadRequest(title=title)
        response, answer = await self._call(self._stub.CreateThread, request, traceparent)
        return CreatedThread.from_fields(answer, **_thread(response.thread))

    async def threads(self, *, traceparent: str | None = None) -> Threads:
        """The principal's own conversations."""
        request = backend_pb2.ListThreadsRequest()
        response, answer = await self._call(self._stub.ListThreads, request, traceparent)
        return Threads.from_fields(answer, threads=[_thread(thread) for thread in response.threads])

    async def send_message(
        self,
        thread_id: ThreadId,
        message: str,
        *,
        run_id: RunId | None = None,
        traceparent: str | None = None,
    ) -> SentMessage:
        """Stores a message and runs the agent on it; the answer comes when the run is committed."""
        request = backend_pb2.SendMessageRequest(
            thread_id=thread_id, message=message, run_id=run_id
        )
        response, answer = await self._call(self._stub.SendMessage, request, traceparent)
        return SentMessage.from_fields(
            answer,
            message=_message(response.message),
            reply=_message(response.reply),
            sequence=response.sequence,
        )

    async def messages(self, thread_id: ThreadId, *, traceparent: str | None = None) -> Messages:
        """A conversation's messages, oldest first."""
        request = backend_pb2.ListMessagesRequest(thread_id=thread_id)
        response, answer = await self._call(self._stub.ListMessages, request, traceparent)
        return Messages.from_fields(
            answer, messages=[_message(message) for message in response.messages]
        )

    async def events(
        self, thread_id: ThreadId, *, after_sequence: int = 0, traceparent: str | None = None
    ) -> Events:
        """A conversation's events after a sequence number, in order."""
        request = backend_pb2.ListEventsRequest(thread_id=thread_id, after_sequence=after_sequence)
        response, answer = await self._call(self._stub.ListEvents, request, traceparent)
        return Events.from_fields(
            answer,
            events=[_event(event) for event in response.events],
            head_sequence=response.head_sequence,
        )

    async def thread_usage(
        self, thread_id: ThreadId, *, traceparent: str | None = None
    ) -> ThreadUsage:
        """What a conversation's runs consumed, as analytics tells the backend."""
        request = backend_pb2.GetThreadUsageRequest(thread_id=thread_id)
        response, answer = await self._call(self._stub.GetThreadUsage, request, traceparent)
        return ThreadUsage.from_fields(
            answer,
            thread_id=response.thread_id,
            runs=response.runs,
            input_characters=response.input_characters,
            output_characters=response.output_characters,
        )

    async def _call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response],
        request: _Request,
        traceparent: str | None,
    ) -> tuple[_Response, Answer]:
        metadata = [("authorization", f"Bearer {self.token}")]
        if traceparent is not None:
            metadata.append(("traceparent", traceparent))
        call = method(request, metadata=metadata, timeout=self._limit_seconds)
        try:
            response = await call
        except grpc.aio.AioRpcError as error:
            raise _failure(error) from error
        headers = _headers([*await call.initial_metadata(), *await call.trailing_metadata()])
        return response, Answer("OK", response.SerializeToString(), headers)


def _failure(error: grpc.aio.AioRpcError) -> Refused | Unanswered:
    headers = _headers([*(error.initial_metadata() or ()), *(error.trailing_metadata() or ())])
    code = error.code().name
    if _REQUEST_ID_KEY not in headers and error.code() in {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
    }:
        return Unanswered(f"{code}: {error.details()}")
    message = error.details() or ""
    return Refused(code, message, Answer(code, message.encode(), headers))


def _headers(pairs: Sequence[tuple[str, str | bytes]]) -> dict[str, str]:
    return {
        name: value if isinstance(value, str) else value.decode("latin-1") for name, value in pairs
    }


def _time(message: backend_pb2.Thread | backend_pb2.Message | backend_pb2.Event) -> datetime:
    return message.created_at.ToDatetime(tzinfo=UTC)


def _thread(thread: backend_pb2.Thread) -> dict[str, object]:
    return {"thread_id": thread.thread_id, "title": thread.title, "created_at": _time(thread)}


def _message(message: backend_pb2.Message) -> dict[str, object]:
    return {
        "message_id": message.message_id,
        "thread_id": message.thread_id,
        "run_id": message.run_id,
        "role": _ROLES.get(message.role, "unspecified"),
        "content": message.content,
        "created_at": _time(message),
    }


def _event(event: backend_pb2.Event) -> dict[str, object]:
    return {
        "type": backend_pb2.EventType.Name(event.type).removeprefix(_EVENT_PREFIX).lower(),
        "thread_id": event.thread_id,
        "run_id": event.run_id,
        "request_id": event.request_id,
        "sequence": event.sequence,
        "content": event.content,
        "created_at": _time(event).isoformat(),
    }
