"""The analytics service as a process: `python -m services.analytics.main`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from services.analytics.grpc import SERVICE, AnalyticsServicer
from services.analytics.http import make_router
from services.analytics.settings import AnalyticsSettings
from services.analytics.store import UsageStore
from services.analytics.usage import UsageService
from services.runtime.auth_client import AuthClient
from services.runtime.authentication import TokenAuthenticator
from services.runtime.boundaries import Boundaries
from services.runtime.grpc_server import GrpcServer
from services.runtime.http import answers, create_app
from services.runtime.lifecycle import run
from services.runtime.postgres import Database
from services.runtime.revocations import RevocationFeed
from services.runtime.streams import StreamConsumer, usage_stream
from services.runtime.telemetry import Telemetry
from services.runtime.tokens import TokenVerifier

NAME: Final = "analytics"


class AnalyticsProgram:
    """Analytics' parts, put together from its settings."""

    websocket_protocol = "none"

    def __init__(self, settings: AnalyticsSettings, telemetry: Telemetry) -> None:
        self._auth = AuthClient(
            settings.auth_grpc_target,
            workload=NAME,
            secret=settings.workload_secret.get_secret_value(),
        )
        self._feed = RevocationFeed(self._auth.list_revocations)
        self._database = Database(
            settings.postgres_url.get_secret_value(), pool_size=settings.postgres_pool_size
        )
        self._usage = UsageService(UsageStore(self._database), telemetry)
        self._consumer = StreamConsumer(
            settings.redis_url.get_secret_value(),
            group=NAME,
            handler=self._usage.consume,
            stream=usage_stream(settings.redis_namespace),
        )
        tokens = TokenVerifier(self._auth.fetch_keys)
        self.boundaries = Boundaries(
            NAME,
            authenticator=TokenAuthenticator(tokens, self._feed),
            tokens=tokens,
            sessions=self._feed,
        )
        self.http_app = create_app(
            NAME,
            routers=[make_router(self._usage)],
            boundaries=self.boundaries,
            telemetry=telemetry,
            readiness=self.readiness,
            description="What the runs of threads consumed.",
        )

    async def readiness(self) -> Mapping[str, bool]:
        """Postgres and Redis answer, and auth has answered once: before, analytics serves nobody.

        Without auth later, it refuses by itself.
        """
        postgres, redis = await asyncio.gather(
            answers(self._database.ping()), answers(self._consumer.ping())
        )
        return {"postgres": postgres, "redis": redis, "revocations": self._feed.heard}

    def register_grpc(self, server: GrpcServer) -> None:
        """Adds `AnalyticsService`."""
        server.add_service(SERVICE, AnalyticsServicer(self._usage))

    async def start(self) -> None:
        """Starts to follow the revocations and to consume the stream."""
        await self._feed.start()
        await self._consumer.start()

    async def drain(self) -> None:
        """There are no WebSockets."""

    async def stop(self) -> None:
        """Ends tasks and connections."""
        await self._consumer.stop(limit_seconds=1.0)
        await self._feed.stop()
        await self._auth.close()
        await self._database.dispose()


def main() -> None:
    """Runs the service until a signal ends it."""
    run(NAME, AnalyticsSettings, AnalyticsProgram)


if __name__ == "__main__":
    main()
