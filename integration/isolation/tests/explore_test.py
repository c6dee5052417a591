"""A system, an audit and programs on its datastores that nobody has run before.

The seed is fresh each time, printed, and kept with the history, the report and the command that
repeats it. The environment is this file's own: its size follows from the seed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from integration.audit import Verdict, run_audit, write_report
from integration.environment import Environment
from integration.fixtures.principals import Principals
from integration.fixtures.seeding import seeded_programs
from integration.isolation.exploring import DIRECTORY_VARIABLE, Exploration, run_cache_program
from integration.isolation.owners import settle_in
from integration.isolation.storm import drawn, run_storm
from integration.systems.watertight.adapter import open_watertight
from services.runtime.postgres import Database
from services.runtime.redis import ScopedRedis

pytest_plugins = ["integration.fixtures.plugin"]
pytestmark = [pytest.mark.integration, pytest.mark.real_services]


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where everything that repeats the exploration is kept."""
    if (given := os.environ.get(DIRECTORY_VARIABLE)) is not None:
        return Path(given)
    outputs = os.environ.get("TEST_UNDECLARED_OUTPUTS_DIR")
    return Path(outputs or tmp_path_factory.mktemp("outputs")) / "explore"


@pytest.fixture(scope="session")
def exploration(directory: Path) -> Exploration:
    """A fresh one, or the one that is to be repeated."""
    explored = Exploration.fresh()
    explored.keep(directory)
    return explored


@pytest.fixture(scope="session")
def environment(exploration: Exploration, directory: Path) -> Iterator[Environment]:
    """A system of the size that the seed gives."""
    with asyncio.Runner() as runner:
        running = Environment(
            programs=seeded_programs(),
            replicas=exploration.replicas,
            settings=exploration.settings,
            log_directory=directory / "logs",
        )
        runner.run(running.__aenter__())
        try:
            yield running
        finally:
            runner.run(running.__aexit__(None, None, None))


@pytest.fixture(autouse=True)
def _told(exploration: Exploration, capsys: pytest.CaptureFixture[str]) -> None:
    """The log says how to do this again, whether or not it fails."""
    with capsys.disabled():
        print(f"\nseed {exploration.seed}; again: {exploration.command}")  # noqa: T201 -- for the log


async def test_audit_under_a_fresh_seed_passes(
    environment: Environment, exploration: Exploration, directory: Path
) -> None:
    """A workload that nobody has run before gets PASS."""
    async with open_watertight(environment) as adapter:
        report = await run_audit(adapter, exploration.plan, directory, command=exploration.command)
    write_report(report, directory)

    assert Verdict.PASS is report.verdict, f"{report.sentence}\nagain: {exploration.command}"


async def test_storage_program_under_a_fresh_seed_shows_own_rows_alone(
    environment: Environment, exploration: Exploration, principals: Principals
) -> None:
    """Transactions of random scopes and ends, over one pool, each see their own."""
    owners = await settle_in(environment, principals)
    url = environment.postgres.url("backend", "backend_service")
    database = Database(url, pool_size=exploration.pool_sizes["backend"])
    program = drawn(owners.everybody, Random(exploration.seed), exploration.transactions)
    try:
        seen = await run_storm(database, program)
    finally:
        await database.dispose()

    assert [] == seen, exploration.command


async def test_cache_program_under_a_fresh_seed_gives_own_values_alone(
    environment: Environment, exploration: Exploration
) -> None:
    """Random commands on keys of hostile identifiers give what was stored under the key itself."""
    system = environment.names.redis_namespace
    scoped = ScopedRedis(environment.valkey.url("backend"), "backend", system=system)
    try:
        wrong = await run_cache_program(scoped, Random(exploration.seed), exploration.commands)
    finally:
        await scoped.close()

    assert [] == wrong, exploration.command
