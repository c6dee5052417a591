"""Two backend replicas as real processes, beside real auth and analytics, for tests."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tools.datastores import Datastores
from tools.local.service import Service
from tools.local.tests.running import LoggedIn, RunningServices, running_services

REPLICAS = ("backend-1", "backend-2")
_SERVICES = Path(__file__).parents[2]
_SETTINGS = {
    "ALLOWED_ORIGINS": '["https://app.example"]',
    "WEBSOCKET_AUTHENTICATION_SECONDS": "1",
    "WEBSOCKET_SLOW_CONSUMER_SECONDS": "1",
    "WEBSOCKET_UNAUTHENTICATED_CONNECTIONS": "10",
    "WEBSOCKET_CONNECTIONS_PER_USER": "20",
    "WEBSOCKET_SUBSCRIPTIONS": "10",
    "LOG_LEVEL": "debug",
}


class Client:
    """One WebSocket to a replica, as a user's program has it."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.ready: dict[str, Any] = {}

    async def send(self, **frame: object) -> None:
        """Sends a frame."""
        await self.connection.send(json.dumps(frame))

    async def next(self, kind: str | None = None) -> dict[str, Any]:
        """The next frame, or the next of a type, past others."""
        while True:
            frame: dict[str, Any] = json.loads(await self.connection.recv())
            if kind in (None, frame["type"]):
                return frame

    async def events(self, count: int) -> list[dict[str, Any]]:
        """The next so many events, past other frames."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            frame = await self.next()
            if "sequence" in frame and "content" in frame:
                found.append(frame)
        return found

    async def subscribe(self, thread_id: str, **more: object) -> dict[str, Any]:
        """Follows a thread; gives the confirmation."""
        await self.send(type="subscribe", thread_id=thread_id, **more)
        return await self.next("subscribed")

    async def close_code(self) -> int:
        """The code that the server closes with, past what it still sends."""
        try:
            while True:
                await self.connection.recv()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else 1006


class Running(RunningServices):
    """The processes, and what an operator and users do with them."""

    def routes(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Every route of OpenAPI that asks who calls: method, path template, operation."""
        description = self.request("GET", "/openapi.json").json()
        return [
            (method.upper(), path, operation)
            for path, operations in description["paths"].items()
            for method, operation in operations.items()
            if operation.get("security")
        ]

    def thread(self, user: LoggedIn, title: str = "a title") -> str:
        """A new thread of the user."""
        answer = self.request("POST", "/threads", json={"title": title}, headers=user.bearer)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["thread_id"])

    def send(
        self, user: LoggedIn, thread_id: str, message: str, name: str = REPLICAS[0]
    ) -> dict[str, Any]:
        """A message of the user, acknowledged over HTTP."""
        path = f"/threads/{thread_id}/messages"
        answer = self.request("POST", path, name, json={"message": message}, headers=user.bearer)
        assert answer.status_code == 201, answer.text
        body: dict[str, Any] = answer.json()
        return body

    @asynccontextmanager
    async def stranger(
        self, name: str = REPLICAS[0], query: str = "", **more: Any
    ) -> AsyncIterator[Client]:
        """A WebSocket to a replica, not authenticated unless the query does it."""
        url = self.url(name).replace("http://", "ws://") + "/ws" + query
        async with connect(url, proxy=None, compression=None, **more) as connection:
            yield Client(connection)

    def _narrow_socket(self, name: str, buffer_bytes: int) -> socket.socket:
        """A connected socket whose kernel takes hardly more than its program reads."""
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        narrow.connect(("127.0.0.1", self.system.addresses[name].http_port))
        return narrow

    @asynccontextmanager
    async def client(
        self,
        user: LoggedIn,
        name: str = REPLICAS[0],
        *,
        label: str | None = None,
        buffer_bytes: int | None = None,
    ) -> AsyncIterator[Client]:
        """A WebSocket of the user, ready."""
        labelled = {} if label is None else {"websocket_client_id": label}
        more: dict[str, Any] = {}
        if buffer_bytes is not None:
            more = {"sock": self._narrow_socket(name, buffer_bytes), "close_timeout": 0.1}
        async with self.stranger(name, **more) as client:
            await client.send(type="authenticate", token=user.access_token, **labelled)
            client.ready = await client.next("ready")
            yield client


@contextmanager
def running_backend(
    datastores: Datastores,
    *,
    auth: Mapping[str, str] | None = None,
    replicas: tuple[str, ...] = REPLICAS,
) -> Iterator[Running]:
    """Starts auth, analytics and the replicas, and stops them at the end."""
    services = {name: Service.read(_SERVICES / name) for name in ("auth", "analytics", "backend")}
    backend = services.pop("backend")
    processes = {**services, **dict.fromkeys(replicas, backend)}
    settings = {"auth": auth or {}, "backend": _SETTINGS}
    with running_services(
        Running, datastores, processes, front=replicas[0], settings=settings
    ) as running:
        yield running
