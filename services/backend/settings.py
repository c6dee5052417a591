"""The backend's settings: the environment's `WATERTIGHT_…`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from services.runtime.settings import GrpcTarget, PostgresUrl, UserServiceSettings
from services.runtime.websocket import WebSocketLimits


class BackendSettings(UserServiceSettings):
    """What the backend reads beside what every service for users does. Times are seconds."""

    relay_postgres_url: PostgresUrl
    """`postgresql+asyncpg://…` of the role that moves the outbox and reads nothing else."""
    analytics_grpc_target: GrpcTarget
    """`host:port`."""
    allowed_origins: frozenset[str] = frozenset()
    """A JSON list of the pages, `https://host[:port]`, whose scripts may open WebSockets."""
    websocket_authentication_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    websocket_unauthenticated_connections: Annotated[int, Field(ge=1)] = 100
    websocket_connections_per_user: Annotated[int, Field(ge=1)] = 50
    websocket_subscriptions: Annotated[int, Field(ge=1)] = 100
    """Threads that one connection may follow."""
    websocket_subscriptions_per_user: Annotated[int, Field(ge=1)] = 500
    """Threads that one user may follow, counted on each connection, in one process."""
    websocket_slow_consumer_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0

    def websocket_limits(self) -> WebSocketLimits:
        """The limits of the WebSocket edge."""
        return WebSocketLimits(
            allowed_origins=self.allowed_origins,
            authentication_seconds=self.websocket_authentication_seconds,
            unauthenticated_connections=self.websocket_unauthenticated_connections,
            connections_per_user=self.websocket_connections_per_user,
            slow_consumer_seconds=self.websocket_slow_consumer_seconds,
        )
