"""Sockets that are admitted, follow a conversation, and read nothing any more."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from integration.environment import Environment
from integration.isolation.hearing import Conversation, Event, event_of
from tools.processes.waiting import until

_BUFFER_BYTES: Final = 4096  # the kernel takes hardly more than the program reads
_KIBIBYTE: Final = 1024


class Stalled:
    """One socket that has stopped reading."""

    def __init__(self, connection: ClientConnection, connection_id: str) -> None:
        self._connection = connection
        self._connection_id = connection_id

    @classmethod
    async def opened(
        cls, environment: Environment, conversation: Conversation, replica: int = 0
    ) -> Self:
        """Follows the conversation from its beginning, at one replica, and stops reading."""
        url = urlsplit(environment.backend_urls[replica])
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        narrow.connect((url.hostname, url.port))
        connection = await connect(
            f"ws://{url.netloc}/ws",
            sock=narrow,
            proxy=None,
            compression=None,
            close_timeout=0.1,
            max_queue=None,
            ping_interval=None,
        )
        await connection.send(
            json.dumps({"type": "authenticate", "token": conversation.person.token})
        )
        ready = json.loads(await connection.recv())
        subscribe = {"type": "subscribe", "thread_id": conversation.thread_id, "after_sequence": 0}
        await connection.send(json.dumps(subscribe))
        await connection.recv()
        connection.transport.pause_reading()
        return cls(connection, ready["connection_id"])

    async def cut_off_with(self, log: Path, limit_seconds: float) -> int | None:
        """The code that the server's log says it ended this connection with, once it has."""
        await until(lambda: self._ended(log), limit_seconds)
        return self._ended(log)[0]

    async def read(self, number: int, limit_seconds: float) -> list[Event]:
        """Reads again, until so many events have come.

        Raises:
            TimeoutError: they did not come in time.
            ConnectionClosed: the server has cut this socket off.
        """
        self._connection.transport.resume_reading()
        async with asyncio.timeout(limit_seconds):
            return [event_of(json.loads(await self._connection.recv())) for _ in range(number)]

    async def ping(self, limit_seconds: float) -> str:
        """The type of the frame that comes next, after a ping.

        Raises:
            TimeoutError, ConnectionClosed: none came.
        """
        await self._connection.send(json.dumps({"type": "ping"}))
        async with asyncio.timeout(limit_seconds):
            return str(json.loads(await self._connection.recv())["type"])

    async def read_rest(self) -> list[Event]:
        """What had reached this side before the end, in order."""
        self._connection.transport.resume_reading()
        events: list[Event] = []
        with contextlib.suppress(ConnectionClosed):
            async for text in self._connection:
                frame: dict[str, Any] = json.loads(text)
                events.append(event_of(frame))
        return events

    def abort(self) -> None:
        """Leaves without a word."""
        self._connection.transport.abort()

    def _ended(self, log: Path) -> list[int | None]:
        lines = [line for line in log.read_text().splitlines() if self._connection_id in line]
        entries = [json.loads(line) for line in lines if line.startswith("{")]
        return [entry["code"] for entry in entries if entry.get("event") == "websocket closed"]


@asynccontextmanager
async def stalled(
    environment: Environment, conversation: Conversation, number: int, *, replica: int = 0
) -> AsyncIterator[list[Stalled]]:
    """So many sockets of the conversation's person that read nothing, inside the block."""
    sockets = [await Stalled.opened(environment, conversation, replica) for _ in range(number)]
    try:
        yield sockets
    finally:
        for each in sockets:
            each.abort()


def memory_bytes(pid: int) -> int:
    """What a process and those that it started hold in memory now."""
    own = 0
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            own = int(line.split()[1]) * _KIBIBYTE
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(memory_bytes(int(child)) for child in children)
