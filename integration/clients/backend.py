"""The backend's HTTP interface: threads, messages, events, usage."""

from __future__ import annotations

from urllib.parse import quote

from contracts.context import RunId, ThreadId
from integration.clients.connections import HttpClient, HttpConnections
from integration.clients.results import (
    CreatedThread,
    Events,
    Messages,
    SentMessage,
    Threads,
    ThreadSession,
    ThreadUsage,
    Ticket,
)


class BackendClient(HttpClient):
    """One principal's client of the backend. Every method takes the `traceparent` of its operation.

    Every method may raise `Refused`, `Unexpected` and `Unanswered`.

    Args:
        service: the base URL, or shared connections to it.
        token: the principal's access token.
    """

    def __init__(self, service: str | HttpConnections, *, token: str) -> None:
        super().__init__(service)
        self.token = token

    async def create_thread(self, title: str, *, traceparent: str | None = None) -> CreatedThread:
        """Opens a conversation."""
        return CreatedThread.from_json(
            await self._connections.request(
                "POST", "/threads", token=self.token, body={"title": title}, traceparent=traceparent
            )
        )

    async def threads(self, *, traceparent: str | None = None) -> Threads:
        """The principal's own conversations."""
        return Threads.from_json(
            await self._connections.request(
                "GET", "/threads", token=self.token, traceparent=traceparent
            )
        )

    async def send_message(
        self,
        thread_id: ThreadId,
        message: str,
        *,
        run_id: RunId | None = None,
        traceparent: str | None = None,
    ) -> SentMessage:
        """Stores a message and runs the agent on it; the answer comes when the run is committed."""
        body = {"message": message} if run_id is None else {"message": message, "run_id": run_id}
        return SentMessage.from_json(
            await self._connections.request(
                "POST",
                f"{_thread(thread_id)}/messages",
                token=self.token,
                body=body,
                traceparent=traceparent,
            )
        )

    async def messages(self, thread_id: ThreadId, *, traceparent: str | None = None) -> Messages:
        """A conversation's messages, oldest first."""
        return Messages.from_json(
            await self._connections.request(
                "GET", f"{_thread(thread_id)}/messages", token=self.token, traceparent=traceparent
            )
        )

    async def events(
        self, thread_id: ThreadId, *, after_sequence: int = 0, traceparent: str | None = None
    ) -> Events:
        """A conversation's events after a sequence number, in order."""
        return Events.from_json(
            await self._connections.request(
                "GET",
                f"{_thread(thread_id)}/events?after_sequence={after_sequence}",
                token=self.token,
                traceparent=traceparent,
            )
        )

    async def open_session(
        self, thread_id: ThreadId, *, traceparent: str | None = None
    ) -> ThreadSession:
        """The run that a conversation is in, or a first one: to continue by `run_id`."""
        return ThreadSession.from_json(
            await self._connections.request(
                "POST", f"{_thread(thread_id)}/session", token=self.token, traceparent=traceparent
            )
        )

    async def thread_usage(
        self, thread_id: ThreadId, *, traceparent: str | None = None
    ) -> ThreadUsage:
        """What a conversation's runs consumed, as analytics tells the backend."""
        return ThreadUsage.from_json(
            await self._connections.request(
                "GET", f"{_thread(thread_id)}/usage", token=self.token, traceparent=traceparent
            )
        )

    async def websocket_ticket(self, *, traceparent: str | None = None) -> Ticket:
        """A single-use admission to one WebSocket."""
        return Ticket.from_json(
            await self._connections.request(
                "POST", "/websocket-tickets", token=self.token, traceparent=traceparent
            )
        )


def _thread(thread_id: ThreadId) -> str:
    return f"/threads/{quote(thread_id, safe='')}"
