"""pytest fixtures: real datastores for a room's tests.

Load them with ``args = ["-p", "tools.datastores.fixtures"]`` of `pytest_test`, or import them by
name in a conftest. A prepared cluster is used when WATERTIGHT_CLUSTER names one (absolute, or
relative to the working directory, as ``$(rootpath …)`` gives it); else Postgres is empty.
"""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tools.datastores.datastores import Datastores
from tools.datastores.postgres import PostgresServer
from tools.datastores.valkey import ValkeyServer


@pytest.fixture(scope="session")
def datastores() -> Iterator[Datastores]:
    """A Postgres and a Valkey for the whole session."""
    cluster = os.environ.get("WATERTIGHT_CLUSTER")
    with Datastores(Path(cluster) if cluster else None) as datastores:
        yield datastores


@pytest.fixture(scope="session")
def postgres(datastores: Datastores) -> PostgresServer:
    """The session's Postgres."""
    return datastores.postgres


@pytest.fixture(scope="session")
def valkey(datastores: Datastores) -> ValkeyServer:
    """The session's Valkey."""
    return datastores.valkey


@pytest.fixture
def isolated_database(postgres: PostgresServer) -> Iterator[Callable[[str], str]]:
    """Makes copies of a service's migrated, empty database: gives a copy's name for a service's.

    They are dropped after the test.
    """
    numbers = itertools.count(1)
    made: list[str] = []

    def make(service: str) -> str:
        name = f"{service}_test_{next(numbers)}"
        postgres.create_database(name, template=service)
        made.append(name)
        return name

    yield make
    for name in made:
        postgres.drop_database(name)
