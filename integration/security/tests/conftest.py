import asyncio
from collections.abc import AsyncIterator

import pytest

from integration.environment import Environment
from integration.fixtures.principals import Principals
from integration.security.judging import harm, lines_that_quote
from integration.security.stage import People

pytest_plugins = ["integration.fixtures.plugin"]


@pytest.fixture(scope="session")
def people(principals: Principals) -> People:
    """A tenant with an administrator, a member, and the member's thread."""
    return asyncio.run(People.settled_in(principals))


@pytest.fixture
async def unharmed(environment: Environment) -> AsyncIterator[None]:
    """After every test the system is healthy, and no log holds what was sent."""
    logs = [process.log_path for process in environment.supervisor.processes.values()]
    positions = {log: log.stat().st_size for log in logs}
    yield
    assert [] == await harm(environment)
    assert [] == lines_that_quote(logs, positions)
