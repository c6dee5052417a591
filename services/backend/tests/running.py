"""Two backend replicas as real processes, beside real auth and analytics, for tests."""

from __future__ import annotations

import json
import os
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from joserfc.jwk import OKPKey
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from services.backend.tests.waiting import LIMIT_SECONDS
from tools.datastores import Datastores, PostgresServer
from tools.processes import ProcessSpecification, Supervisor, reserve_port

_OPERATOR_SECRET = "operator-" + "0" * 32
_WORKLOAD_SECRETS = {"backend": "backend-" + "1" * 32, "analytics": "analytics-" + "2" * 32}
_PASSWORD = "correct horse battery"
REPLICAS = ("backend-1", "backend-2")


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A user with a token."""

    tenant: str
    tenant_id: str
    user_id: str
    access_token: str = field(repr=False)

    @property
    def bearer(self) -> dict[str, str]:
        """The header that authenticates the user."""
        return {"authorization": f"Bearer {self.access_token}"}

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The same for gRPC."""
        return tuple(self.bearer.items())


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


class Running:
    """The processes, and what an operator and users do with them."""

    def __init__(self, supervisor: Supervisor, datastores: Datastores) -> None:
        self.supervisor = supervisor
        self.datastores = datastores

    def url(self, name: str) -> str:
        """Where a process answers over HTTP."""
        return f"http://127.0.0.1:{self.supervisor[name].ready['http_port']}"

    def grpc_target(self, name: str = REPLICAS[0]) -> str:
        """Where a process answers over gRPC."""
        return f"127.0.0.1:{self.supervisor[name].ready['grpc_port']}"

    def request(
        self, method: str, path: str, name: str = REPLICAS[0], **more: Any
    ) -> httpx.Response:
        """One request to a process."""
        return httpx.request(
            method, self.url(name) + path, timeout=LIMIT_SECONDS, trust_env=False, **more
        )

    def routes(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Every route of OpenAPI that asks who calls: method, path template, operation."""
        description = self.request("GET", "/openapi.json").json()
        return [
            (method.upper(), path, operation)
            for path, operations in description["paths"].items()
            for method, operation in operations.items()
            if operation.get("security")
        ]

    def new_tenant(self) -> LoggedIn:
        """A new tenant's administrator, logged in."""
        name = f"tenant {uuid.uuid4().hex[:8]}"
        answer = self.request(
            "POST",
            "/operator/tenants",
            "auth",
            json={"name": name, "administrator": {"login_name": "root", "password": _PASSWORD}},
            headers={"authorization": f"Bearer {_OPERATOR_SECRET}"},
        )
        assert answer.status_code == 201, answer.text
        return self.log_in(name, "root")

    def new_user(self, administrator: LoggedIn, login_name: str = "anna") -> LoggedIn:
        """A user of the administrator's tenant, logged in."""
        answer = self.request(
            "POST",
            "/users",
            "auth",
            json={"login_name": login_name, "password": _PASSWORD},
            headers=administrator.bearer,
        )
        assert answer.status_code == 201, answer.text
        return self.log_in(administrator.tenant, login_name)

    def log_in(self, tenant: str, login_name: str) -> LoggedIn:
        """A session of this user."""
        answer = self.request(
            "POST",
            "/login",
            "auth",
            json={"tenant": tenant, "login_name": login_name, "password": _PASSWORD},
        )
        assert answer.status_code == 200, answer.text
        body = answer.json()
        return LoggedIn(tenant, body["tenant_id"], body["user_id"], body["access_token"])

    def log_out(self, user: LoggedIn) -> None:
        """Ends the user's session; returns when that is committed."""
        answer = self.request("POST", "/logout", "auth", headers=user.bearer)
        assert answer.status_code == 204, answer.text

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
        narrow.connect(("127.0.0.1", int(str(self.supervisor[name].ready["http_port"]))))
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

    def log_lines(self, name: str) -> list[dict[str, Any]]:
        """Every log line of a process so far; a line that is no JSON fails."""
        lines = self.supervisor[name].log_path.read_text().splitlines()
        return [json.loads(line) for line in lines if line.strip()]


def error_of(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an answer that is an error in the services' shape, and nothing else."""
    body = answer.json()
    assert {"error"} == set(body), answer.text
    assert {"code", "message", "request_id"} == set(body["error"])
    return answer.status_code, body["error"]["code"]


def backend_environment(
    postgres: PostgresServer, redis_url: str, auth_grpc: str, analytics: str
) -> dict[str, str]:
    """All that a replica reads."""
    return {
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "WATERTIGHT_POSTGRES_URL": postgres.url("backend", "backend_service"),
        "WATERTIGHT_RELAY_POSTGRES_URL": postgres.url("backend", "backend_relay"),
        "WATERTIGHT_REDIS_URL": redis_url,
        "WATERTIGHT_AUTH_GRPC_TARGET": auth_grpc,
        "WATERTIGHT_ANALYTICS_GRPC_TARGET": analytics,
        "WATERTIGHT_WORKLOAD_SECRET": _WORKLOAD_SECRETS["backend"],
        "WATERTIGHT_ALLOWED_ORIGINS": '["https://app.example"]',
        "WATERTIGHT_WEBSOCKET_AUTHENTICATION_SECONDS": "1",
        "WATERTIGHT_WEBSOCKET_SLOW_CONSUMER_SECONDS": "1",
        "WATERTIGHT_WEBSOCKET_UNAUTHENTICATED_CONNECTIONS": "10",
        "WATERTIGHT_WEBSOCKET_CONNECTIONS_PER_USER": "20",
        "WATERTIGHT_WEBSOCKET_SUBSCRIPTIONS": "10",
        "WATERTIGHT_LOG_LEVEL": "debug",
    }


def _analytics_environment(
    postgres: PostgresServer, redis_url: str, auth_grpc: str
) -> dict[str, str]:
    return {
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "WATERTIGHT_POSTGRES_URL": postgres.url("analytics", "analytics_service"),
        "WATERTIGHT_REDIS_URL": redis_url,
        "WATERTIGHT_AUTH_GRPC_TARGET": auth_grpc,
        "WATERTIGHT_WORKLOAD_SECRET": _WORKLOAD_SECRETS["analytics"],
    }


def _program(service: str) -> list[str]:
    """How a service is started: the program that Bazel built, or the module itself."""
    if built := os.environ.get(f"{service.upper()}_PROGRAM"):
        return [str(Path(built).absolute())]
    return [sys.executable, "-m", f"services.{service}.main"]


def _auth_environment(datastores: Datastores) -> dict[str, str]:
    key = OKPKey.generate_key("Ed25519", parameters={"kid": "test-key"}, private=True)
    return {
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "WATERTIGHT_POSTGRES_URL": datastores.postgres.url("auth", "auth_service"),
        "WATERTIGHT_REVOCATIONS_POSTGRES_URL": datastores.postgres.url("auth", "auth_revocations"),
        "WATERTIGHT_SIGNING_KEY": json.dumps(key.as_dict(private=True)),
        "WATERTIGHT_WORKLOAD_SECRETS": json.dumps(_WORKLOAD_SECRETS),
        "WATERTIGHT_OPERATOR_SECRET": _OPERATOR_SECRET,
        "WATERTIGHT_ACCESS_TOKEN_SECONDS": "300",
        "WATERTIGHT_PASSWORD_MEMORY_KIB": "64",
        "WATERTIGHT_PASSWORD_ITERATIONS": "1",
    }


@contextmanager
def running_backend(
    datastores: Datastores,
    redis_urls: Mapping[str, str],
    *,
    auth: Mapping[str, str] | None = None,
    replicas: tuple[str, ...] = REPLICAS,
) -> Iterator[Running]:
    """Starts auth, analytics and the replicas, and stops them at the end."""
    with Supervisor() as supervisor, reserve_port() as analytics:
        supervisor.start(
            ProcessSpecification(
                name="auth",
                argv=_program("auth"),
                env={**_auth_environment(datastores), **(auth or {})},
            )
        )
        running = Running(supervisor, datastores)
        env = backend_environment(
            datastores.postgres,
            redis_urls["backend"],
            running.grpc_target("auth"),
            f"127.0.0.1:{analytics.port}",
        )
        analytics_env = {
            **_analytics_environment(
                datastores.postgres, redis_urls["analytics"], running.grpc_target("auth")
            ),
            "WATERTIGHT_GRPC_PORT": str(analytics.port),
        }
        supervisor.start(
            ProcessSpecification(name="analytics", argv=_program("analytics"), env=analytics_env),
            *(
                ProcessSpecification(name=name, argv=_program("backend"), env=env)
                for name in replicas
            ),
        )
        yield running
