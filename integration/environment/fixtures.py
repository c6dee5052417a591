"""pytest fixtures: the running system, and people who have logged in to it.

`pytest_plugins = ["integration.environment.fixtures"]` in a conftest brings them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from integration.environment.environment import Environment


@pytest.fixture(scope="session")
def environment() -> Iterator[Environment]:
    """The whole system, started once for all tests of the process."""
    with asyncio.Runner() as runner:
        running = Environment()
        runner.run(running.__aenter__())
        try:
            yield running
        finally:
            runner.run(running.__aexit__(None, None, None))
