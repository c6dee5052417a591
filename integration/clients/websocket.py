"""A WebSocket client for tests: it admits itself, asks, collects events, and resumes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Origin

from contracts.context import ContextError, RequestId, RunId, ThreadId
from contracts.context.carriers.websocket import EVENT_TYPES
from integration.clients.answers import Answer, Refused, Unanswered, Unexpected
from integration.clients.connections import DEFAULT_LIMIT_SECONDS

Frame = dict[str, Any]
"""One JSON frame. Its values are whatever the peer sent."""

# How an abnormal end is numbered (RFC 6455, section 7.4.1).
_NO_CLOSE_FRAME: Final = 1006
_AUTHENTICATION_FRAME: Final = "authenticate"


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A committed agent request; `sequence` is the run's last event's."""

    thread_id: ThreadId
    run_id: RunId
    request_id: RequestId
    sequence: int
    answer: Answer


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
        self.close_code: int | None = None
        self.close_reason = ""
        self._token = token
        self._client_id = client_id
        self._url = _websocket_url(base_url, ticket, client_id)
        self._origin = None if origin is None else Origin(origin)
        self._limit_seconds = limit_seconds
        self._connection: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._one_request = asyncio.Lock()
        self._arrived = asyncio.Condition()
        self._events: list[Frame] = []
        self._answers: list[str] = []
        self._texts: list[str] = []
        self._streaming = False
        self._positions: dict[ThreadId, int] = {}

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    @property
    def closed(self) -> bool:
        """Whether the connection has ended, from either side."""
        return self.close_code is not None

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
        positions = dict(self._positions)
        self.close_code = None
        self._answers.clear()
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
        frame = _frame(
            "subscribe",
            thread_id=thread_id,
            after_sequence=after_sequence,
            traceparent=traceparent,
        )
        head = _number(await self.ask(frame, "subscribed"), "head_sequence")
        self._positions.setdefault(thread_id, head if after_sequence is None else after_sequence)
        return head

    async def unsubscribe(self, thread_id: ThreadId, *, traceparent: str | None = None) -> None:
        """Ends a subscription.

        Raises:
            Refused, Unexpected, Unanswered
        """
        frame = _frame("unsubscribe", thread_id=thread_id, traceparent=traceparent)
        await self.ask(frame, "unsubscribed")
        self._positions.pop(thread_id, None)

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
        frame = _frame(
            "agent_request",
            thread_id=thread_id,
            message=message,
            run_id=run_id,
            traceparent=traceparent,
        )
        answer = await self.ask(frame, "acknowledged")
        fields = json.loads(answer.body)
        try:
            return Acknowledgement(
                thread_id=ThreadId(fields["thread_id"]),
                run_id=RunId(fields["run_id"]),
                request_id=RequestId(fields["request_id"]),
                sequence=_number(answer, "sequence"),
                answer=answer,
            )
        except (KeyError, ContextError) as error:
            raise Unexpected("an acknowledged frame", answer) from error

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
            return await self._next_answer("any")

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
        done = until if callable(until) else _last_is(until)
        try:
            async with asyncio.timeout(timeout), self._arrived:
                await self._arrived.wait_for(lambda: self.closed or done(self._events))
        except TimeoutError:
            pass
        collected, self._events = self._events, []
        return collected

    async def texts(self) -> AsyncIterator[str]:
        """Every frame of the connection as text, from the first one on, until it is closed.

        One reader takes them all; from then on `collect_events` finds no events.
        """
        self._streaming = True
        self._events.clear()
        while texts := await self._take_texts():
            for text in texts:
                yield text

    async def _take_texts(self) -> list[str]:
        async with self._arrived:
            await self._arrived.wait_for(lambda: self.closed or self._texts)
            taken, self._texts = self._texts, []
            return taken

    async def wait_closed(self, timeout: float) -> int:  # noqa: ASYNC109 -- as above
        """The code with which the connection is closed (1006: without one).

        Raises:
            TimeoutError: it is still open after so many seconds.
        """
        async with asyncio.timeout(timeout), self._arrived:
            await self._arrived.wait_for(lambda: self.closed)
        return self.close_code or _NO_CLOSE_FRAME

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
        self._reader = asyncio.create_task(self._read(self._connection))
        try:
            if self._token is not None:
                first = _frame(
                    _AUTHENTICATION_FRAME, token=self._token, websocket_client_id=self._client_id
                )
                await self.send_json(first)
            ready = await self._answer("ready")
        except BaseException as error:
            closed_by_server = self.closed
            await self.close()
            if isinstance(error, Unanswered) and closed_by_server:
                raise self._refusal() from error
            raise
        self.connection_id = str(json.loads(ready.body)["connection_id"])

    def _refusal(self) -> Refused:
        answer = Answer(str(self.close_code), self.close_reason.encode())
        return Refused(_code_of(self.close_code), self.close_reason, answer)

    async def _read(self, connection: ClientConnection) -> None:
        try:
            async for text in connection:
                async with self._arrived:
                    self._sort(text if isinstance(text, str) else text.decode("latin-1"))
                    self._arrived.notify_all()
        except ConnectionClosed:
            pass
        finally:
            async with self._arrived:
                self.close_code = connection.close_code or _NO_CLOSE_FRAME
                self.close_reason = connection.close_reason or ""
                self._arrived.notify_all()

    def _sort(self, text: str) -> None:
        self._texts.append(text)
        frame = json.loads(text)
        if frame["type"] not in EVENT_TYPES:
            self._answers.append(text)
            return
        if not self._streaming:
            self._events.append(frame)
        thread_id = ThreadId(frame["thread_id"])
        self._positions[thread_id] = max(self._positions.get(thread_id, 0), frame["sequence"])

    async def _next_answer(self, expected: str) -> Answer:
        try:
            async with asyncio.timeout(self._limit_seconds), self._arrived:
                await self._arrived.wait_for(lambda: self.closed or self._answers)
        except TimeoutError as error:
            raise Unanswered(f"no {expected} frame within {self._limit_seconds} s") from error
        if not self._answers:
            raise Unanswered(f"closed with {self.close_code}: {self.close_reason}")
        text = self._answers.pop(0)
        return Answer(str(json.loads(text)["type"]), text.encode())

    async def _answer(self, expected: str) -> Answer:
        answer = await self._next_answer(expected)
        frame = json.loads(answer.body)
        if frame["type"] == "error":
            raise Refused(str(frame["code"]), str(frame["message"]), answer)
        if frame["type"] != expected:
            raise Unexpected(f"a frame of type {expected}", answer)
        return answer


def _websocket_url(base_url: str, ticket: str | None, client_id: str | None) -> str:
    scheme, _, rest = base_url.rstrip("/").partition("://")
    url = f"{scheme.replace('http', 'ws')}://{rest}/ws"
    if ticket is None:
        return url
    label = {} if client_id is None else {"client_id": client_id}
    return f"{url}?{urlencode({'ticket': ticket, **label})}"


def _frame(kind: str, **fields: object) -> Frame:
    return {
        "type": kind,
        **{name: value for name, value in fields.items() if value is not None},
    }


def _number(answer: Answer, name: str) -> int:
    value = json.loads(answer.body).get(name)
    if type(value) is not int:
        raise Unexpected(f"a whole number as {name}", answer)
    return value


def _last_is(kind: str | None) -> Callable[[list[Frame]], bool]:
    return lambda events: kind is not None and bool(events) and events[-1]["type"] == kind


def _code_of(close_code: int | None) -> str:
    """The error that a close code stands for (4000 and HTTP's number)."""
    codes = {4400: "INVALID_ARGUMENT", 4401: "UNAUTHENTICATED", 4403: "PERMISSION_DENIED"}
    return codes.get(close_code or 0, "UNAVAILABLE" if close_code else "UNKNOWN")
