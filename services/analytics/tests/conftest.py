"""What analytics' tests share: its migrated database, its Redis user, and running processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from services.analytics.tests.running import Running, running_analytics
from services.analytics.tests.stage import Stage
from tools.datastores import Datastores, PostgresServer, ValkeyServer
from tools.datastores.fixtures import datastores, isolated_database, postgres, valkey
from tools.local import system
from tools.local.service import Service

__all__ = ["datastores", "isolated_database", "postgres", "valkey"]

_SERVICE = Service.read(Path(__file__).parents[1])


@pytest.fixture(scope="session")
def redis_url(valkey: ValkeyServer) -> str:
    """Redis under analytics' own user, with the rules that it declares."""
    return system.redis_url(valkey, _SERVICE)


@pytest.fixture
async def stage(
    postgres: PostgresServer, isolated_database: Callable[[str], str]
) -> AsyncIterator[Stage]:
    """A database of the test's own, under analytics' login role."""
    stage = Stage(postgres, isolated_database("analytics"))
    yield stage
    await stage.close()


@pytest.fixture(scope="session")
def running(datastores: Datastores) -> Iterator[Running]:
    """Auth and analytics for all tests: each makes tenants of its own."""
    with running_analytics(datastores) as running:
        yield running
