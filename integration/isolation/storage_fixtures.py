"""pytest fixtures of the storage suite: owners of rows, and the services' databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from integration.environment import SERVICES, Environment
from integration.fixtures.principals import Principals
from integration.fixtures.seeding import seed_schema
from integration.isolation.owners import Owners, settle_in
from services.runtime.postgres import Database


@pytest.fixture(scope="session")
def owners(environment: Environment, principals: Principals) -> Owners:
    """Four owners whose rows every service has."""
    made = asyncio.run(settle_in(environment, principals))
    seed_schema(environment)
    return made


@pytest.fixture
async def databases(environment: Environment) -> AsyncIterator[dict[str, Database]]:
    """Each service's database under its login role, over one pooled connection."""
    opened = {
        service: Database(environment.postgres.url(service, f"{service}_service"), pool_size=1)
        for service in SERVICES
    }
    yield opened
    for database in opened.values():
        await database.dispose()
