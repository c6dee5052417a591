"""The datastores fail in the middle of work, and come back. Each has to be this system's own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import pytest

from integration.environment import Environment
from integration.fixtures.metrics import record_metric
from integration.fixtures.principals import Principals
from integration.fixtures.seeding import seeded_programs
from integration.resilience.writers import (
    WRITER_ENDED,
    Kept,
    Writer,
    acknowledged_again,
    kept_of,
    writing,
)
from tools.processes import SupervisedProcess

pytestmark = [pytest.mark.integration, pytest.mark.real_services, pytest.mark.critical]

# Stated in the README: after this everybody is served again.
RECOVERY_SECONDS: Final = 10.0
USAGE_SECONDS: Final = 20.0
# What a writer may be told: to come back later, or that nobody knows what became of the message.
REFUSED: Final = {"UNAVAILABLE"}
UNKNOWN: Final = {"UNKNOWN", "DEADLINE_EXCEEDED", WRITER_ENDED}
_PAUSE_SECONDS: Final = 0.05

_TERMINATE: Final = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""

Fault = Callable[[Environment], Awaitable[None]]


async def restart_postgres(environment: Environment) -> None:
    """Stopped in order and started again."""
    await environment.control("postgres", SupervisedProcess.restart)


async def kill_postgres(environment: Environment) -> None:
    """Ended as by a crash; it recovers from its log."""
    await environment.control("postgres", SupervisedProcess.kill)
    await environment.control("postgres", SupervisedProcess.start)


async def terminate_back_ends(environment: Environment) -> None:
    """Every connection of every service is cut, again and again, whatever it is doing."""
    for _ in range(20):
        await asyncio.to_thread(environment.postgres.admin.fetch, _TERMINATE)


async def restart_redis(environment: Environment) -> None:
    """Stopped in order; it comes back empty."""
    await environment.control("valkey", SupervisedProcess.restart)


async def kill_redis(environment: Environment) -> None:
    """Ended as by a crash; it comes back empty."""
    await environment.control("valkey", SupervisedProcess.kill)
    await environment.control("valkey", SupervisedProcess.start)


FAULTS: Final = (restart_postgres, kill_postgres, terminate_back_ends, restart_redis, kill_redis)


@pytest.fixture(scope="module")
def environment() -> Iterator[Environment]:
    """A system whose datastores may be broken: each test leaves it whole again."""
    with asyncio.Runner() as runner:
        running = Environment(programs=seeded_programs(), embedded=True)
        runner.run(running.__aenter__())
        try:
            yield running
        finally:
            runner.run(running.__aexit__(None, None, None))


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.__name__ for fault in FAULTS])
async def test_fault_in_the_middle_of_work(environment: Environment, fault: Fault) -> None:
    """Refusals are typed, service returns in the stated time, and what was acknowledged is there.

    What was refused has not happened, nothing is there twice, and usage counts what is there.
    """
    async with writing(environment, Principals(environment)) as writers:
        await fault(environment)
        over = time.monotonic()
        await acknowledged_again(writers, RECOVERY_SECONDS)
        record_metric("recovery", time.monotonic() - over, "s")
    kept = [await _counted(environment, writer) for writer in writers]

    assert any(writer.refused or writer.unknown for writer in writers), "the fault was not felt"
    assert {*()} == {code for w in writers for code in w.refused.values()} - REFUSED
    assert {*()} == {code for w in writers for code in w.unknown.values()} - UNKNOWN
    assert [] == [
        f"{writer.name}: {problem}"
        for writer, found in zip(writers, kept, strict=True)
        for problem in found.problems(writer)
    ]
    assert [len(found.contents) for found in kept] == [found.runs for found in kept]


async def _counted(environment: Environment, writer: Writer) -> Kept:
    """What is kept, once the usage of all of it has been counted."""
    limit = time.monotonic() + USAGE_SECONDS
    while True:
        kept = await kept_of(environment, writer)
        if kept.runs >= len(kept.contents) or time.monotonic() > limit:
            return kept
        await asyncio.sleep(_PAUSE_SECONDS)
