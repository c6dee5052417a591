"""A small service's database and Redis users, real and empty, for each test of the data modules."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.runtime.migrations import run_migrations
from services.runtime.postgres import Database
from services.runtime.tests.probe import (
    CONSUMER_RULES,
    MIGRATIONS,
    OWNER,
    REDIS_RULES,
    RELAY,
    SERVICE,
    Probe,
)
from tools.datastores import PostgresServer, ValkeyServer
from tools.datastores.fixtures import datastores, postgres, valkey

__all__ = ["datastores", "postgres", "valkey"]

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def probe_template(postgres: PostgresServer) -> str:
    """The migrated, empty database that every test's is a copy of."""
    postgres.create_database("probe_template")
    for role in (OWNER, SERVICE, RELAY):
        postgres.create_login_role(role)
        postgres.grant_connect("probe_template", role)
    postgres.admin.execute(
        f"alter schema public owner to {OWNER}",
        database="probe_template",
    )
    with pytest.MonkeyPatch.context() as environment, ThreadPoolExecutor(1) as thread:
        environment.setenv("SERVICE_ROLE", SERVICE)
        thread.submit(run_migrations, MIGRATIONS, postgres.url("probe_template", OWNER)).result()
    return "probe"


@pytest.fixture
def probe(postgres: PostgresServer, probe_template: str) -> Iterator[Probe]:
    """A migrated, empty database of the test's own."""
    name = f"probe_{next(_numbers)}"
    postgres.create_database(name, template=probe_template)
    yield Probe(postgres, name)
    postgres.drop_database(name)


@pytest.fixture
async def database(probe: Probe) -> AsyncIterator[Database]:
    """The service's own way to it, with a pool of one: whatever a connection keeps is met again."""
    database = Database(probe.url(), pool_size=1)
    yield database
    await database.dispose()


@pytest.fixture
def redis_url(valkey: ValkeyServer) -> str:
    """Redis as the small service sees it, empty."""
    valkey.admin.flushall()
    return valkey.url(valkey.add_user("probe", REDIS_RULES).name)


@pytest.fixture
def consumer_url(valkey: ValkeyServer, redis_url: str) -> str:  # noqa: ARG001 -- empties it first
    """Redis as the stream's consumer sees it."""
    return valkey.url(valkey.add_user("consumer", CONSUMER_RULES).name)
