"""What analytics' tests share: its migrated database, its Redis user, and running processes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from services.analytics.tests.running import Running, running_analytics
from services.analytics.tests.stage import Stage
from tools.datastores import Datastores, PostgresServer, ValkeyServer
from tools.datastores.fixtures import datastores, isolated_database, postgres, valkey

__all__ = ["datastores", "isolated_database", "postgres", "valkey"]

_ACCESS = Path(__file__).parents[1] / "access.json"


@pytest.fixture(scope="session")
def redis_url(valkey: ValkeyServer) -> str:
    """Redis under analytics' own user, with the rules that it declares."""
    rules = json.loads(_ACCESS.read_text(encoding="utf-8"))["redis_rules"]
    return valkey.url(valkey.add_user("analytics", rules).name)


@pytest.fixture
async def stage(
    postgres: PostgresServer, isolated_database: Callable[[str], str]
) -> AsyncIterator[Stage]:
    """A database of the test's own, under analytics' login role."""
    stage = Stage(postgres, isolated_database("analytics"))
    yield stage
    await stage.close()


@pytest.fixture(scope="session")
def running(datastores: Datastores, redis_url: str) -> Iterator[Running]:
    """Auth and analytics for all tests: each makes tenants of its own."""
    with running_analytics(datastores, redis_url) as running:
        yield running
