"""`tools/bazel run //integration/performance:startup`: how long until one can test."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence

from integration.environment import Environment, Programs
from integration.performance.command import main
from integration.performance.comparison import Comparison, in_turns
from integration.performance.peers import servers_ready
from tools.datastores import Datastores

_PEERS = "pytest-postgresql and pytest-redis"
_DATASTORES = "datastores"
_SYSTEM = "whole system"


async def benchmark(rounds: int) -> Sequence[Comparison]:
    """Datastores, and the whole system, against the peers' two servers alone."""
    cluster = Programs.built().cluster

    def datastores() -> float:
        started = time.perf_counter()
        with Datastores(cluster):
            return time.perf_counter() - started

    async def system() -> float:
        started = time.perf_counter()
        async with Environment():
            return time.perf_counter() - started

    samples = await in_turns(
        {
            _PEERS: lambda: asyncio.to_thread(servers_ready),
            _DATASTORES: lambda: asyncio.to_thread(datastores),
            _SYSTEM: system,
        },
        rounds,
    )
    return [
        Comparison(
            name="startup",
            question="How long until one can test?",
            baseline=_PEERS,
            samples=samples,
            notes=(
                f"{_PEERS}: two empty servers, started as their fixtures start them",
                f"{_DATASTORES}: two servers with the databases, roles and tables of all services",
                f"{_SYSTEM}: these, auth, analytics and two replicas of the backend, all healthy",
            ),
        )
    ]


if __name__ == "__main__":
    sys.exit(main("startup", "Start-up against its peers.", benchmark, sys.argv[1:]))
