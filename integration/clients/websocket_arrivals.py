"""What has come over one WebSocket and waits to be taken: events, answers, and its end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from contracts.context import ThreadId
from contracts.context.carriers.websocket import EVENT_TYPES
from integration.clients.answers import Answer, Unanswered
from integration.clients.websocket_frames import Frame, last_is

# How an abnormal end is numbered (RFC 6455, section 7.4.1).
_NO_CLOSE_FRAME: Final = 1006


class Arrivals:
    """Events apart from answers, each in the order in which they came.

    `positions` are the last sequence numbers seen, by thread. They and the events outlive a
    connection; answers do not.
    """

    def __init__(self) -> None:
        self.close_code: int | None = None
        self.close_reason = ""
        self.positions: dict[ThreadId, int] = {}
        self._changed = asyncio.Condition()
        self._events: list[Frame] = []
        self._answers: list[str] = []
        self._texts: list[str] = []
        self._streaming = False

    @property
    def closed(self) -> bool:
        """Whether the connection has ended, from either side."""
        return self.close_code is not None

    def begin(self) -> None:
        """Forgets what belonged to the connection before."""
        self.close_code = None
        self._answers.clear()

    async def read(self, connection: ClientConnection) -> None:
        """Sorts whatever comes until the connection ends."""
        try:
            async for text in connection:
                async with self._changed:
                    self._sort(text if isinstance(text, str) else text.decode("latin-1"))
                    self._changed.notify_all()
        except ConnectionClosed:
            pass
        finally:
            async with self._changed:
                self.close_code = connection.close_code or _NO_CLOSE_FRAME
                self.close_reason = connection.close_reason or ""
                self._changed.notify_all()

    async def answer(self, expected: str, limit_seconds: float) -> Answer:
        """The next frame that is no event; `expected` is for the error's text.

        Raises:
            Unanswered: the connection was closed, or nothing came in time.
        """
        try:
            async with asyncio.timeout(limit_seconds), self._changed:
                await self._changed.wait_for(lambda: self.closed or self._answers)
        except TimeoutError as error:
            raise Unanswered(f"no {expected} frame within {limit_seconds} s") from error
        if not self._answers:
            raise Unanswered(f"closed with {self.close_code}: {self.close_reason}")
        text = self._answers.pop(0)
        return Answer(str(json.loads(text)["type"]), text.encode())

    async def collect_events(
        self, limit_seconds: float, until: Callable[[list[Frame]], bool] | str | None
    ) -> list[Frame]:
        """Takes the events: see `WebSocketTestClient.collect_events`."""
        done = until if callable(until) else last_is(until)
        try:
            async with asyncio.timeout(limit_seconds), self._changed:
                await self._changed.wait_for(lambda: self.closed or done(self._events))
        except TimeoutError:
            pass
        collected, self._events = self._events, []
        return collected

    async def texts(self) -> AsyncIterator[str]:
        """Every frame as text: see `WebSocketTestClient.texts`."""
        self._streaming = True
        self._events.clear()
        while texts := await self._take_texts():
            for text in texts:
                yield text

    async def wait_closed(self, limit_seconds: float) -> int:
        """The code with which the connection ended: see `WebSocketTestClient.wait_closed`."""
        async with asyncio.timeout(limit_seconds), self._changed:
            await self._changed.wait_for(lambda: self.closed)
        return self.close_code or _NO_CLOSE_FRAME

    async def _take_texts(self) -> list[str]:
        async with self._changed:
            await self._changed.wait_for(lambda: self.closed or self._texts)
            taken, self._texts = self._texts, []
            return taken

    def _sort(self, text: str) -> None:
        self._texts.append(text)
        frame = json.loads(text)
        if frame["type"] not in EVENT_TYPES:
            self._answers.append(text)
            return
        if not self._streaming:
            self._events.append(frame)
        thread_id = ThreadId(frame["thread_id"])
        self.positions[thread_id] = max(self.positions.get(thread_id, 0), frame["sequence"])
