"""The engine finds the leak of the example system, and passes the system without it."""

import asyncio
from pathlib import Path

import pytest

from integration.audit import Anomaly, AuditPlan, Launch, Report, Verdict, run_audit
from integration.systems.example.adapter import CACHE_LEAK, open_notebook


async def audited(leak: str | None, seed: int, directory: Path) -> Report:
    """Audit the notebook over HTTP."""
    plan = AuditPlan(operations=150, seed=seed)
    async with asyncio.timeout(60), open_notebook(Launch(leak, directory, plan)) as adapter:
        return await run_audit(adapter, plan, directory)


@pytest.mark.parametrize("seed", [1, 2])
async def test_the_leak_is_found(tmp_path: Path, seed: int) -> None:
    """A list that is cached on its address alone is a read across users and tenants."""
    report = await audited(CACHE_LEAK, seed, tmp_path)

    assert Verdict.LEAK is report.verdict
    found = {anomaly for anomaly, result in report.anomalies.items() if result.count}
    assert {Anomaly.CROSS_USER_READ, Anomaly.CROSS_TENANT_READ} == found
    witness = report.witnesses[0]
    assert ["create book", "list books"] == [part.name for part in witness.operations]
    assert witness.writer.partition("#")[0] != witness.observer.partition("#")[0]
    assert "http" == witness.channel


@pytest.mark.parametrize("seed", [1, 2])
async def test_the_fixed_system_passes(tmp_path: Path, seed: int) -> None:
    """With the user in the cache's key nothing is found, and nothing is left unsaid."""
    report = await audited(None, seed, tmp_path)

    assert [] == report.reasons
    assert [] == report.findings
    assert Verdict.PASS is report.verdict
