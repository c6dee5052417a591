"""The running system with taps on the wires between its services, and next to no connections."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from integration.environment import Environment
from integration.fixtures.seeding import seeded_programs
from integration.propagation.wiretap import Wiretap, tapped

pytest_plugins = ["integration.fixtures.plugin"]

# Whoever waits for a connection gets the one that somebody else has just used.
_ONE_CONNECTION = {"POSTGRES_POOL_SIZE": "1"}
# The user's own token ends before one for a hop would, so that it is seen to set the end.
_LIVES = {"ACCESS_TOKEN_SECONDS": "240", "TRANSACTION_TOKEN_SECONDS": "300"}


@dataclass(frozen=True, slots=True)
class Wires:
    """The taps between the backend and those whom it calls."""

    environment: Environment
    auth: Wiretap
    analytics: Wiretap


@pytest.fixture(scope="session")
def wires() -> Iterator[Wires]:
    """The whole system, started once for all tests of the process."""
    systems: list[Environment] = []
    with ExitStack() as stack:
        auth = stack.enter_context(tapped(lambda: systems[0].auth_grpc_target))
        analytics = stack.enter_context(tapped(lambda: systems[0].analytics_grpc_target))
        targets = {"AUTH_GRPC_TARGET": auth.target, "ANALYTICS_GRPC_TARGET": analytics.target}
        settings = {
            "auth": {**_ONE_CONNECTION, **_LIVES},
            "analytics": _ONE_CONNECTION,
            "backend": {**_ONE_CONNECTION, **targets},
        }
        runner = stack.enter_context(asyncio.Runner())
        environment = Environment(programs=seeded_programs(), settings=settings)
        systems.append(environment)
        runner.run(environment.__aenter__())
        try:
            yield Wires(environment, auth, analytics)
        finally:
            runner.run(environment.__aexit__(None, None, None))


@pytest.fixture(scope="session")
def environment(wires: Wires) -> Environment:
    """The same, for who needs no tap."""
    return wires.environment
