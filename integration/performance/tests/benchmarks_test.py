"""Runs the benchmarks that take seconds, so that none of them rots. Asserts nothing about speed."""

from __future__ import annotations

import asyncio

import pytest

from integration.performance import database_benchmark, scope_benchmark
from integration.performance.comparison import MINIMUM_ROUNDS
from integration.performance.peers import servers_ready

pytestmark = [pytest.mark.integration, pytest.mark.performance]


async def test_isolated_database() -> None:
    """Both ways make and drop their databases on a real server."""
    (comparison,) = await database_benchmark.benchmark(MINIMUM_ROUNDS)

    assert {"pytest-postgresql", "isolated database"} == set(comparison.samples)


async def test_scope() -> None:
    """Scoped and unscoped statements run, reads and writes."""
    comparisons = await scope_benchmark.benchmark(MINIMUM_ROUNDS)

    assert ["scoped-read", "scoped-write"] == [each.name for each in comparisons]


async def test_peers_servers() -> None:
    """The peers' two servers start and stop, also where this process is root."""
    assert await asyncio.to_thread(servers_ready) > 0
