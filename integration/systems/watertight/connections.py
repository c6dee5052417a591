"""The connections that all principals share, as users behind one proxy do."""

from __future__ import annotations

import contextlib
from typing import Self

import grpc.aio

from integration.audit import Call
from integration.clients.analytics import AnalyticsClient
from integration.clients.auth import AuthClient
from integration.clients.backend import BackendClient
from integration.clients.backend_grpc import BackendGrpcClient
from integration.clients.connections import HttpConnections
from integration.environment import Environment


class SharedConnections:
    """Open inside `async with`. A call's number decides which replica gets it."""

    def __init__(self, environment: Environment, limit_seconds: float) -> None:
        self._environment = environment
        self._limit_seconds = limit_seconds
        self._cleanup = contextlib.AsyncExitStack()
        self._backends: list[HttpConnections] = []
        self._channels: list[grpc.aio.Channel] = []

    async def __aenter__(self) -> Self:
        enter = self._cleanup.enter_async_context
        auth = await enter(self._http(self._environment.auth_url))
        self.auth = AuthClient(auth)
        self._analytics = await enter(self._http(self._environment.analytics_url))
        for url in self._environment.backend_urls:
            self._backends.append(await enter(self._http(url)))
        replicas = dict(zip(self._environment.replica_names, self._backends, strict=True))
        self.processes = {"auth": auth, "analytics": self._analytics, **replicas}
        for target in self._environment.backend_grpc_targets:
            self._channels.append(await enter(grpc.aio.insecure_channel(target)))
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._cleanup.aclose()

    def backend_url(self, number: int) -> str:
        """The base URL of one replica."""
        return self._environment.backend_urls[number % len(self._backends)]

    def backend(self, call: Call, token: str) -> BackendClient:
        """A client of one replica over HTTP."""
        return self.backend_numbered(call.number, token)

    def backend_numbered(self, number: int, token: str) -> BackendClient:
        """A client of the replica that `backend_url` names by the same number."""
        return BackendClient(self._backends[number % len(self._backends)], token=token)

    def backend_grpc(self, call: Call, token: str) -> BackendGrpcClient:
        """A client of one replica over gRPC."""
        channel = self._channels[call.number % len(self._channels)]
        return BackendGrpcClient(channel, token=token, limit_seconds=self._limit_seconds)

    def analytics(self, token: str) -> AnalyticsClient:
        """A client of analytics."""
        return AnalyticsClient(self._analytics, token=token)

    def _http(self, url: str) -> HttpConnections:
        return HttpConnections(url, limit_seconds=self._limit_seconds)
