"""The whole system against servers that somebody else runs: a second pair, started here."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.environment import Environment
from integration.tests.against import (
    LIMIT_SECONDS,
    UP,
    audit,
    servers_of_report,
    suites,
)
from tools.datastores import NotOursError, ServerAddressError
from tools.datastores.tests.somebody import Somebody, embedded_somebody, with_variables
from tools.processes import ProcessDiedError, SupervisedProcess


@pytest.fixture(scope="module")
def theirs() -> Iterator[Somebody]:
    """Servers on which somebody has things already."""
    with embedded_somebody() as theirs:
        yield theirs


@pytest.fixture
def named(theirs: Somebody, monkeypatch: pytest.MonkeyPatch) -> Somebody:
    """The same, named by this process's variables."""
    for name, value in theirs.variables.items():
        monkeypatch.setenv(name, value)
    return theirs


def test_audit_passes_and_leaves_nothing(theirs: Somebody, tmp_path: Path) -> None:
    """The verdict is PASS, the report says whose servers they are, and they are as before."""
    before = theirs.catalogue()
    finished = audit(theirs, tmp_path)

    assert 0 == finished.returncode, finished.stdout + finished.stderr
    assert servers_of_report(tmp_path).endswith(
        "run by somebody else: their own logs were not observed"
    )
    assert before == theirs.catalogue()


def test_audit_finds_a_leak_there(theirs: Somebody, tmp_path: Path) -> None:
    """A key that lacks its thread is found under a run's name as well."""
    before = theirs.catalogue()
    finished = audit(theirs, tmp_path, "--leak", "cache-key")

    assert 10 == finished.returncode, finished.stdout + finished.stderr
    assert before == theirs.catalogue()


def test_suites_pass_and_leave_nothing(theirs: Somebody, tmp_path: Path) -> None:
    """Statements and commands are counted of this run alone."""
    before = theirs.catalogue()
    passed, others, printed = suites(theirs, tmp_path)

    assert [] == others, printed
    assert [] != passed
    assert before == theirs.catalogue()


async def test_nothing_stays_after_a_failure(named: Somebody) -> None:
    """Neither when a service does not start, nor when whoever uses the system fails."""
    before = named.catalogue()
    with pytest.raises(ProcessDiedError):
        async with Environment(replicas=1, settings={"auth": {"POSTGRES_POOL_SIZE": "none"}}):
            pass

    async def use() -> None:
        async with Environment(replicas=1) as environment:
            assert environment.external
            assert [] != named.of_runs()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await use()

    assert before == named.catalogue()


async def test_next_run_removes_what_a_killed_one_left(named: Somebody) -> None:
    """A killed system leaves its things, and the next one's start removes them."""
    before = named.catalogue()
    await asyncio.to_thread(_start_and_kill, named)
    left = set(named.of_runs()) - set(before.splitlines())
    async with Environment(replicas=1) as environment:
        more = set(named.of_runs()) - set(before.splitlines())

    assert 10 < len(left)
    assert [] == [line for line in more if environment.names.run not in line]
    assert before == named.catalogue()


def _start_and_kill(theirs: Somebody) -> None:
    with subprocess.Popen(
        [UP, "--replicas", "1"], stdout=subprocess.PIPE, text=True, env=with_variables(theirs)
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if "Ctrl-C" in line:
                break
        running.kill()
        running.wait(LIMIT_SECONDS)


async def test_who_must_own_the_servers_gets_embedded_ones(named: Somebody) -> None:
    """With `embedded` the variables mean nothing; without it, the servers cannot be stopped."""
    before = named.catalogue()
    async with Environment(replicas=1, embedded=True) as environment:
        assert not environment.external
        assert "" == environment.names.run
        assert before == named.catalogue()
    async with Environment(replicas=1) as environment:
        assert {"auth", "analytics", "backend-1"} == set(environment.supervisor.processes)
        for name in ("postgres", "valkey"):
            with pytest.raises(NotOursError, match="run by somebody else"):
                await environment.control(name, SupervisedProcess.kill)


def test_one_variable_alone_is_an_error(named: Somebody, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever names one server has forgotten the other."""
    assert named.variables
    monkeypatch.delenv("WATERTIGHT_REDIS_URL")
    with pytest.raises(ServerAddressError, match=r"^WATERTIGHT_REDIS_URL: expected a URL"):
        Environment()
