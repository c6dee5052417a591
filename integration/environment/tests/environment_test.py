import asyncio
import os
from pathlib import Path

import httpx
import pytest

from integration.environment import Environment, Programs
from tools.processes import ProcessDiedError, SupervisedProcess


async def health(url: str) -> int:
    """The status of a service's health answer; 0 where nothing listens."""
    async with httpx.AsyncClient(trust_env=False) as client:
        try:
            return (await client.get(f"{url}/health", timeout=5.0)).status_code
        except httpx.TransportError:
            return 0


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_whole_system_starts_and_nothing_is_left(tmp_path: Path) -> None:
    """Every service is healthy inside the block; after it only logs are left."""
    async with Environment(log_directory=tmp_path, embedded=True) as environment:
        urls = (environment.auth_url, environment.analytics_url, *environment.backend_urls)
        inside = await asyncio.gather(*map(health, urls))
        pids = [process.pid for process in environment.supervisor.processes.values()]

    assert [200] * 4 == inside
    assert [0] * 4 == await asyncio.gather(*map(health, urls))
    assert not [pid for pid in pids if _runs(pid)]
    names = {"auth.log", "analytics.log", "backend-1.log", "backend-2.log", "postgres.log"}
    assert names <= set(os.listdir(tmp_path))  # noqa: PTH208 -- after everything has ended


async def test_restarted_service_comes_back_where_it_was() -> None:
    """A killed replica's URL answers again after its restart."""
    async with Environment(replicas=1) as environment:
        await environment.control("backend-1", SupervisedProcess.kill)
        gone = await health(environment.backend_url)
        await environment.control("backend-1", SupervisedProcess.restart)

        assert 0 == gone
        assert 200 == await health(environment.backend_url)


async def test_service_that_cannot_start_says_why() -> None:
    """A wrong setting ends the start at once, with the service's own words."""
    settings = {"backend": {"POSTGRES_POOL_SIZE": "none"}}
    with pytest.raises(ProcessDiedError) as died:
        async with Environment(settings=settings):
            pass

    assert died.value.process_name.startswith("backend-")
    assert "WATERTIGHT_POSTGRES_POOL_SIZE" in died.value.log_tail


async def test_death_inside_the_block_is_noticed() -> None:
    """A service that ends by itself fails whoever used the system."""

    async def use() -> None:
        async with Environment(replicas=1) as environment:
            process = environment.supervisor["analytics"]
            os.kill(process.pid, 9)
            await asyncio.to_thread(process.wait_exit, 10.0)

    with pytest.raises(ProcessDiedError) as died:
        await use()

    assert "analytics" == died.value.process_name


def test_environment_has_a_replica_at_least() -> None:
    """A system without a backend is refused."""
    with pytest.raises(ValueError, match="at least one"):
        Environment(replicas=0)


def test_only_services_can_be_replaced() -> None:
    """A program for a service that does not exist is refused."""
    with pytest.raises(KeyError, match="expected one of"):
        Programs.built().replacing("billing", ("/bin/true",))
