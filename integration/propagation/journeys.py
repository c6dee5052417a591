"""One message's way into the system, over each entry channel, under a trace of its own."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from contracts.context import RunId, ThreadId
from integration.clients.answers import Answer
from integration.clients.backend import BackendClient
from integration.clients.backend_grpc import BackendGrpcClient
from integration.clients.websocket import WebSocketTestClient
from integration.environment import Environment
from integration.fixtures.principals import Person

REQUEST_ID_KEY: Final = "x-request-id"
"""Where HTTP's headers and gRPC's trailing metadata say for which request an answer is."""


@unique
class Entry(StrEnum):
    """How a message comes in."""

    HTTP = "http"
    GRPC = "grpc"
    WEBSOCKET = "websocket"


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace that a caller starts: its identifier, and the caller's own span's."""

    trace_id: str
    span_id: str

    @classmethod
    def new(cls) -> Trace:
        """One that nobody has used."""
        return cls(secrets.token_hex(16), secrets.token_hex(8))

    @property
    def parent(self) -> str:
        """As `traceparent` says it."""
        return f"00-{self.trace_id}-{self.span_id}-01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """An acknowledged message: whose, where, and what its sender was told of it."""

    person: Person
    entry: Entry
    thread_id: ThreadId
    run_id: RunId
    request_id: str
    trace: Trace
    text: str
    label: str | None = None

    @property
    def scope(self) -> dict[str, str]:
        """For whom and where it was, as logs, spans and rows name it."""
        return {
            "tenant_id": self.person.tenant_id,
            "user_id": self.person.user_id,
            "thread_id": self.thread_id,
            "run_id": self.run_id,
        }


async def send(
    environment: Environment,
    person: Person,
    thread_id: ThreadId,
    entry: Entry,
    *,
    replica: int = 0,
    label: str | None = None,
) -> Journey:
    """Sends a message that nobody else sends, and gives its journey once it is acknowledged.

    Args:
        replica: which of the backend's.
        label: the sender's own name for its connection, where the entry is a WebSocket.

    Raises:
        ClientError: it was not acknowledged.
    """
    trace, text = Trace.new(), secrets.token_hex(8)
    sender = _Sender(environment, person, thread_id, replica, label)
    ways = {
        Entry.HTTP: sender.over_http,
        Entry.GRPC: sender.over_grpc,
        Entry.WEBSOCKET: sender.over_websocket,
    }
    run_id, request_id = await ways[entry](text, trace)
    return Journey(
        person=person,
        entry=entry,
        thread_id=thread_id,
        run_id=run_id,
        request_id=request_id,
        trace=trace,
        text=text,
        label=label,
    )


@dataclass(frozen=True, slots=True)
class _Sender:
    """Sends one message; each way gives the run and the request that the sender is told of."""

    environment: Environment
    person: Person
    thread_id: ThreadId
    replica: int
    label: str | None

    async def over_http(self, text: str, trace: Trace) -> tuple[RunId, str]:
        url = self.environment.backend_urls[self.replica]
        async with BackendClient(url, token=self.person.token) as client:
            sent = await client.send_message(self.thread_id, text, traceparent=trace.parent)
        return sent.message.run_id, told_by(sent.answer)

    async def over_grpc(self, text: str, trace: Trace) -> tuple[RunId, str]:
        target = self.environment.backend_grpc_targets[self.replica]
        async with BackendGrpcClient(target, token=self.person.token) as client:
            sent = await client.send_message(self.thread_id, text, traceparent=trace.parent)
        return sent.message.run_id, told_by(sent.answer)

    async def over_websocket(self, text: str, trace: Trace) -> tuple[RunId, str]:
        url = self.environment.backend_urls[self.replica]
        async with WebSocketTestClient(
            token=self.person.token, base_url=url, client_id=self.label
        ) as client:
            acknowledged = await client.request_agent(
                self.thread_id, text, traceparent=trace.parent
            )
        return acknowledged.run_id, str(acknowledged.request_id)


def told_by(answer: Answer) -> str:
    """The request that an answer is for, as its caller is told it."""
    return answer.headers.get(REQUEST_ID_KEY, "")
