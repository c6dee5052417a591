"""A WebSocket client for tests: it admits itself, asks, collects events, and resumes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Origin

from contracts.context import RunId, ThreadId
from integration.clients.answers import Answer, Refused, Unanswered
from integration.clients.connections import DEFAULT_LIMIT_SECONDS
from integration.clients.websocket_arrivals import Arrivals
from integration.clients.websocket_frames import (
    Acknowledgement,
    Frame,
    make_frame,
    refusal,
    require_type,
    websocket_url,
    whole_number,
)

__all__ = ["Acknowledgement", "Frame", "WebSocketTestClient"]

_AUTHENTICATION_FRAME: Final = "authenticate"


class WebSocketTestClient:
    """One WebSocket of one principal, open and admitted inside `async with`.

    Requests of one client are answered in order, one at a time; use a client for each of several
    that shall run at once. Frames that nobody has collected are kept.

    Args:
        token: the principal's access token, sent in the first frame.
        base_url: the backend's, with `http`, `https`, `ws` or `wss`.
        client_id: the principal's own label for the connection.
        ticket: a single-use admission in the token's place.
        origin: the `Origin` header, as a browser would send it.
        limit_seconds: for connecting, and for each answer.

    Raises:
        Refused: on entering, where the server closed instead of admitting; `answer.status` is the
            close code or HTTP's status.
        Unanswered: there was no connection, or no admission in time.
    """

    def __init__(
        self,
        *,
        token: str | None = None,
        base_url: str,
        client_id: str | None = None,
        ticket: str | None = None,
        origin: str | None = None,
        limit_seconds: float = DEFAULT_LIMIT_SECONDS,
    ) -> None:
        if (token is None) == (ticket is None):
            raise ValueError("expected a token or a ticket, and not both")
        self.connection_id = ""
        self._token = token
        self._client_id = client_id
        self._url = websocket_url(base_url, ticket, client_id)
        self._origin = None if origin is None else Origin(origin)
        self._limit_seconds = limit_seconds
        self._connection: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._one_request = asyncio.Lock()
        self._arrivals = Arrivals()

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    @property
    def closed(self) -> bool:
        """Whether the connection has ended, from either side."""
        return self._arrivals.closed

    @property
    def close_code(self) -> int | None:
        """The code with which the connection ended (1006: without one); None while it is open."""
        return self._arrivals.close_code

    @property
    def close_reason(self) -> str:
        """What the server said on closing."""
        return self._arrivals.close_reason

    async def close(self) -> None:
        """Closes the connection, and waits until it is closed."""
        if self._connection is not None:
            await self._connection.close()
        if self._reader is not None:
            await self._reader

    async def reconnect(self) -> None:
        """Opens a new connection, and resumes each thread after the last event that was seen.

        Only with a token: a ticket admits once.
        """
        await self.close()
        positions = dict(self._arrivals.positions)
        self._arrivals.begin()
        await self._open()
        for thread_id, sequence in positions.items():
            await self.subscribe(thread_id, after_sequence=sequence)

    async def send_json(self, frame: Mapping[str, object]) -> None:
        """Sends one frame as it is.

        Raises:
            Unanswered: the connection is closed.
        """
        await self.send_text(json.dumps(frame))

    async def send_text(self, text: str | bytes) -> None:
        """Sends anything at all: a text frame, or a binary one for bytes.

        Raises:
            Unanswered: the connection is closed.
        """
        if self._connection is None:
            raise RuntimeError("the client is not connected; use it in `async with`")
        try:
            await self._connection.send(text)
        except ConnectionClosed as error:
            raise Unanswered(f"the connection is closed: {error}") from error

    async def subscribe(
        self,
        thread_id: ThreadId,
        *,
        after_sequence: int | None = None,
        traceparent: str | None = None,
    ) -> int:
        """Asks for a thread's events, from now on or after a sequence number.

        Returns:
            the newest sequence number that there is.

        Raises:
            Refused, Unexpected, Unanswered
        """
        frame = make_frame(
            "subscribe",
            thread_id=thread_id,
            after_sequence=after_sequence,
            traceparent=traceparent,
        )
        head = whole_number(await self.ask(frame, "subscribed"), "head_sequence")
        self._arrivals.positions.setdefault(
            thread_id, head if after_sequence is None else after_sequence
        )
        return head

    async def unsubscribe(self, thread_id: ThreadId, *, traceparent: str | None = None) -> None:
        """Ends a subscription.

        Raises:
            Refused, Unexpected, Unanswered
        """
        frame = make_frame("unsubscribe", thread_id=thread_id, traceparent=traceparent)
        await self.ask(frame, "unsubscribed")
        self._arrivals.positions.pop(thread_id, None)

    async def request_agent(
        self,
        thread_id: ThreadId,
        message: str,
        *,
        run_id: RunId | None = None,
        traceparent: str | None = None,
    ) -> Acknowledgement:
        """Sends a message to the agent; the answer comes when the run is committed.

        Raises:
            Refused, Unexpected, Unanswered
        """
        frame = make_frame(
            "agent_request",
            thread_id=thread_id,
            message=message,
            run_id=run_id,
            traceparent=traceparent,
        )
        return Acknowledgement.read(await self.ask(frame, "acknowledged"))

    async def ask(self, frame: Mapping[str, object], expected: str) -> Answer:
        """Sends a frame and gives the next frame that is no event, which must be of a type.

        Raises:
            Refused: an error frame came.
            Unexpected: a frame of another type came.
            Unanswered: the connection was closed, or nothing came in time. It is closed then: an
                answer that came late would be taken for the next one's.
        """
        async with self._one_request:
            await self.send_json(frame)
            try:
                return await self._answer(expected)
            except Unanswered:
                await self.close()
                raise

    async def ask_text(self, text: str | bytes) -> Answer:
        """Sends anything at all, and gives the next frame that is no event, of whatever type.

        Raises:
            Unanswered: the connection was closed, or nothing came in time.
        """
        async with self._one_request:
            await self.send_text(text)
            return await self._arrivals.answer("any", self._limit_seconds)

    async def collect_events(
        self,
        timeout: float,  # noqa: ASYNC109 -- the wait itself is what is asked for
        until: Callable[[list[Frame]], bool] | str | None = None,
    ) -> list[Frame]:
        """Takes the events that have come and that come, in order of arrival.

        Args:
            timeout: seconds to wait; also the end of it when `until` never holds.
            until: ends the wait early: a condition on the events so far, or the type of the last.
        """
        return await self._arrivals.collect_events(timeout, until)

    def texts(self) -> AsyncIterator[str]:
        """Every frame of the connection as text, from the first one on, until it is closed.

        One reader takes them all; from then on `collect_events` finds no events.
        """
        return self._arrivals.texts()

    async def wait_closed(self, timeout: float) -> int:  # noqa: ASYNC109 -- as above
        """The code with which the connection is closed (1006: without one).

        Raises:
            TimeoutError: it is still open after so many seconds.
        """
        return await self._arrivals.wait_closed(timeout)

    async def _open(self) -> None:
        try:
            self._connection = await connect(
                self._url,
                origin=self._origin,
                compression=None,
                proxy=None,
                open_timeout=self._limit_seconds,
                close_timeout=self._limit_seconds,
                max_queue=None,
            )
        except InvalidStatus as error:
            status = str(error.response.status_code)
            body = bytes(error.response.body or b"")
            answer = Answer(status, body, dict(error.response.headers))
            raise Refused("UNKNOWN", "the handshake was refused", answer) from error
        except (OSError, InvalidHandshake, ConnectionClosed, TimeoutError) as error:
            raise Unanswered(f"no WebSocket at {self._url.partition('?')[0]}: {error!r}") from error
        self._reader = asyncio.create_task(self._arrivals.read(self._connection))
        try:
            if self._token is not None:
                first = make_frame(
                    _AUTHENTICATION_FRAME, token=self._token, websocket_client_id=self._client_id
                )
                await self.send_json(first)
            ready = await self._answer("ready")
        except BaseException as error:
            closed_by_server = self.closed
            await self.close()
            if isinstance(error, Unanswered) and closed_by_server:
                raise refusal(self.close_code, self.close_reason) from error
            raise
        self.connection_id = str(json.loads(ready.body)["connection_id"])

    async def _answer(self, expected: str) -> Answer:
        return require_type(await self._arrivals.answer(expected, self._limit_seconds), expected)
