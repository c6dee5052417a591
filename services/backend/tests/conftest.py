"""What the backend's tests share: its migrated database, its Redis user, and users made by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from services.backend.announcements import NAMESPACE
from services.backend.tests.running import Running, running_backend
from services.backend.tests.stage import Stage
from services.runtime.postgres import Database
from services.runtime.redis import ScopedRedis
from services.runtime.wake_ups import WakeUps
from tools.datastores import Datastores, PostgresServer, ValkeyServer
from tools.datastores.fixtures import datastores, isolated_database, postgres, valkey
from tools.local import system
from tools.local.service import Service

__all__ = ["datastores", "isolated_database", "postgres", "valkey"]

_SERVICE = Service.read(Path(__file__).parents[1])


@pytest.fixture(scope="session")
def redis_url(valkey: ValkeyServer) -> str:
    """Redis under the backend's own user, with the rules that it declares."""
    return system.redis_url(valkey, _SERVICE)


@pytest.fixture
async def stage(
    postgres: PostgresServer, redis_url: str, isolated_database: Callable[[str], str]
) -> AsyncIterator[Stage]:
    """A database of the test's own, under the backend's login role."""
    name = isolated_database("backend")
    database = Database(postgres.url(name, "backend_service"))
    redis = ScopedRedis(redis_url, "backend")
    wake_ups = WakeUps(redis, NAMESPACE)
    await wake_ups.start()
    stage = Stage(database, redis, wake_ups, database_name=name)
    yield stage
    await stage.close()
    await wake_ups.stop()
    await redis.close()
    await database.dispose()


@pytest.fixture(scope="session")
def running(datastores: Datastores) -> Iterator[Running]:
    """Auth, analytics and two replicas for all tests: each makes tenants of its own."""
    with running_backend(datastores) as running:
        yield running
