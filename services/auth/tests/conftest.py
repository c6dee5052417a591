"""What auth's tests run on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.auth.tests.running import RunningAuth, running_auth
from tools.datastores import Datastores

pytest_plugins = ["tools.datastores.fixtures"]


@pytest.fixture(scope="session")
def auth(datastores: Datastores) -> Iterator[RunningAuth]:
    """One service for all tests: each makes tenants of its own."""
    with running_auth(datastores) as running:
        yield running
