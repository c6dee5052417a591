"""What auth's tests run on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.auth.tests.running import RunningAuth, running_auth
from tools.datastores import PostgresServer

pytest_plugins = ["tools.datastores.fixtures"]


@pytest.fixture(scope="session")
def auth(postgres: PostgresServer) -> Iterator[RunningAuth]:
    """One service for all tests: each makes tenants of its own."""
    with running_auth(postgres) as running:
        yield running
