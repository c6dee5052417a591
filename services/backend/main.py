"""The backend's program: `python -m services.backend.main`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from fastapi import FastAPI
from starlette.routing import WebSocketRoute

from contracts.context import DataScope
from services.backend import http
from services.backend.announcements import NAMESPACE, Announcements
from services.backend.clients import AnalyticsClient
from services.backend.conversations import Conversations
from services.backend.events import StoredEvents
from services.backend.frames import CLIENT_FRAMES
from services.backend.grpc import SERVICE, BackendServicer
from services.backend.hub import Hub
from services.backend.settings import BackendSettings
from services.backend.tickets import Tickets
from services.backend.transcripts import TranscriptCache
from services.backend.websocket import PATH, ConversationSockets
from services.runtime.auth_client import AuthClient
from services.runtime.authentication import TokenAuthenticator
from services.runtime.boundaries import Boundaries
from services.runtime.calls import new_id
from services.runtime.confirmations import Confirmations
from services.runtime.grpc_server import GrpcServer
from services.runtime.http import answers, create_app
from services.runtime.lifecycle import run
from services.runtime.outbox import OutboxRelay
from services.runtime.postgres import Database
from services.runtime.redis import ScopedRedis
from services.runtime.revocations import RevocationFeed
from services.runtime.sessions import SessionStore
from services.runtime.streams import StreamProducer, usage_stream
from services.runtime.telemetry import Telemetry
from services.runtime.tokens import TokenVerifier
from services.runtime.wake_ups import WakeUps
from services.runtime.websocket import WebSocketEdge
from services.runtime.websocket_protocol import ClientSocket

NAME: Final = "backend"

_FRAMES_EXTENSION: Final = "x-websocket-frames"


class BackendProgram:
    """The backend, put together: one process of it is a replica, and holds nothing of its own."""

    def __init__(self, settings: BackendSettings, telemetry: Telemetry) -> None:
        self._auth = AuthClient(
            settings.auth_grpc_target,
            workload=NAME,
            secret=settings.workload_secret.get_secret_value(),
        )
        self._feed = RevocationFeed(self._auth.list_revocations)
        self._database = Database(
            settings.postgres_url.get_secret_value(), pool_size=settings.postgres_pool_size
        )
        redis_url = settings.redis_url.get_secret_value()
        stream = usage_stream(settings.redis_namespace)
        self._redis = ScopedRedis(redis_url, NAME, system=settings.redis_namespace)
        self._wake_ups = WakeUps(self._redis, NAMESPACE)
        self._announcements = Announcements(self._redis)
        self._producer = StreamProducer(redis_url, stream)
        self._confirmations = Confirmations(redis_url, stream)
        self._relay = OutboxRelay(
            settings.relay_postgres_url.get_secret_value(), self._producer, self._confirmations
        )
        self._analytics = AnalyticsClient(settings.analytics_grpc_target, self._auth)
        self._hub = Hub(
            StoredEvents(self._database),
            self._wake_ups,
            maximum_subscriptions=settings.websocket_subscriptions_per_user,
        )
        self._tickets = Tickets(self._redis, clock=_now)
        self._conversations = Conversations(
            self._database,
            SessionStore(self._database, self._redis, clock=_now, new_id=new_id),
            TranscriptCache(self._redis),
            self._analytics,
            committed=self._committed,
            clock=_now,
        )
        authenticator = TokenAuthenticator(TokenVerifier(self._auth.fetch_keys), self._feed)
        self.boundaries = Boundaries(NAME, authenticator=authenticator)
        self._edge = WebSocketEdge(
            authenticator=authenticator,
            sessions=self._feed,
            redeem=self._tickets.redeem,
            telemetry=telemetry,
            limits=settings.websocket_limits(),
        )
        self._sockets = ConversationSockets(
            self._edge,
            self._conversations,
            self._hub,
            maximum_subscriptions=settings.websocket_subscriptions,
        )
        self.http_app = self._make_app(telemetry)

    @property
    def websocket_protocol(self) -> type[asyncio.Protocol]:
        """The one that bounds what a peer may cost."""
        return ClientSocket

    async def readiness(self) -> Mapping[str, bool]:
        """Postgres and Redis answer, and auth has answered once: before, the backend serves nobody.

        Without auth or analytics later, it refuses by itself.
        """
        postgres, redis = await asyncio.gather(
            answers(self._database.ping()), answers(self._redis.ping())
        )
        return {"postgres": postgres, "redis": redis, "revocations": self._feed.heard}

    def register_grpc(self, server: GrpcServer) -> None:
        """Adds `BackendService`."""
        server.add_service(SERVICE, BackendServicer(self._conversations))

    async def start(self) -> None:
        """Starts what runs beside the requests."""
        await self._feed.start()
        await self._wake_ups.start()
        await self._announcements.start()
        await self._relay.start()
        await self._edge.start()

    async def drain(self) -> None:
        """Closes the WebSockets with 1001."""
        await self._edge.drain()

    async def stop(self) -> None:
        """Ends what `start` started, and every connection."""
        await self._edge.stop()
        await self._hub.stop()
        await self._relay.stop()
        await self._announcements.stop()
        await self._wake_ups.stop()
        await self._feed.stop()
        await self._producer.close()
        await self._confirmations.close()
        await self._analytics.close()
        await self._auth.close()
        await self._redis.close()
        await self._database.dispose()

    def _committed(self, scope: DataScope, head_sequence: int) -> None:
        self._hub.wake(scope)
        self._announcements.announce(scope, head_sequence)
        self._relay.wake()

    def _make_app(self, telemetry: Telemetry) -> FastAPI:
        app = create_app(
            NAME,
            routers=[http.make_router(self._conversations, self._tickets)],
            boundaries=self.boundaries,
            telemetry=telemetry,
            readiness=self.readiness,
            description=f"Threads, messages and runs. WebSocket: `{PATH}`, {_FRAMES_EXTENSION}.",
        )
        app.router.routes.append(WebSocketRoute(PATH, self._sockets.serve))
        _document_frames(app)
        return app


def _document_frames(app: FastAPI) -> None:
    """OpenAPI does not know WebSockets: an extension names the frames that `/ws` reads."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        frames = {name: model.model_json_schema() for name, model in CLIENT_FRAMES.items()}
        return {**generate(), _FRAMES_EXTENSION: frames}

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def _now() -> datetime:
    return datetime.now(UTC)


def main() -> None:
    """Runs the service until a signal ends it."""
    run(NAME, BackendSettings, BackendProgram)


if __name__ == "__main__":
    main()
