"""A whole audit of a system in this process: correct, with each fault, and seen too little of."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from integration.audit import (
    Anomaly,
    AuditPlan,
    Call,
    Channel,
    ChannelPlan,
    MeasurePlan,
    Outcome,
    Report,
    Result,
    Verdict,
    check_history,
    run_audit,
)
from integration.audit.tests.boards import DESCRIPTION, FAULTS, Board

PLAN = AuditPlan(operations=150, seed=3)

EXPECTED = {
    "wrong thread": Anomaly.CROSS_THREAD_READ,
    "no owner check": Anomaly.EXISTENCE_ORACLE,
    "captured": Anomaly.WRITE_CAPTURE,
    "broadcast": Anomaly.MISROUTE,
    "joined": Anomaly.MISROUTE,
    "lost": Anomaly.LOST_DELIVERY,
    "twice": Anomaly.LOST_DELIVERY,
    "counts all": Anomaly.AGGREGATE_CONTAMINATION,
    "never logged out": Anomaly.STALE_PRINCIPAL,
    "stays connected": Anomaly.STALE_PRINCIPAL,
    "tells": Anomaly.EXISTENCE_ORACLE,
    "log": Anomaly.CONTEXT_BLEED,
    "everybody administers": Anomaly.PRIVILEGE_ESCALATION,
}


async def audit(board: Board, directory: Path, plan: AuditPlan = PLAN) -> Report:
    """Run an audit that must end."""
    async with asyncio.timeout(30):
        return await run_audit(board, plan, directory)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_correct_system_passes(tmp_path: Path, seed: int) -> None:
    """No finding, no reason, and every anomaly that has an oracle was looked for."""
    report = await audit(Board(), tmp_path, replace(PLAN, seed=seed))

    assert [] == report.findings
    assert [] == report.reasons
    assert Verdict.PASS is report.verdict
    assert {Anomaly.PHANTOM_CONTINUITY} == {
        anomaly for anomaly, result in report.anomalies.items() if result.checks is None
    }


def test_every_fault_of_the_board_is_expected() -> None:
    """A fault that is added to the board is tried here."""
    assert FAULTS.keys() == EXPECTED.keys()


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_found_by_its_name(tmp_path: Path, fault: str) -> None:
    """Each fault turns the verdict, under the anomaly that it is, with who wrote and who saw."""
    report = await audit(Board(fault), tmp_path)

    anomaly = EXPECTED[fault]
    lost = anomaly is Anomaly.LOST_DELIVERY and fault == "lost"
    assert (Verdict.LOSS if lost else report.verdict) is report.verdict
    assert report.verdict in (Verdict.LEAK, Verdict.LOSS)
    assert report.anomalies[anomaly].count
    witness = next(each for each in report.witnesses if each.anomaly == anomaly)
    assert witness.writer
    assert witness.observer
    assert witness.channel in list(Channel)


async def test_the_history_gives_the_same_verdict_again(tmp_path: Path) -> None:
    """Checking the file once more finds what the audit found."""
    report = await audit(Board("wrong thread"), tmp_path)

    again = check_history(tmp_path / "history.jsonl")

    assert report.verdict is again.verdict
    assert report.anomalies == again.anomalies
    assert report.channels == again.channels
    assert report.witnesses == again.witnesses


async def test_a_channel_below_its_minimum_is_inconclusive(tmp_path: Path) -> None:
    """A channel that the adapter declares and never shows keeps the audit from passing."""
    channels = (*DESCRIPTION.channels, ChannelPlan(Channel.TRACES, minimum_observations=5))
    report = await audit(Board(description=replace(DESCRIPTION, channels=channels)), tmp_path)

    assert Verdict.INCONCLUSIVE is report.verdict
    assert ["traces: 0 observations, at least 5 are due"] == report.reasons


async def test_a_channel_without_own_canaries_is_inconclusive(tmp_path: Path) -> None:
    """A content-expecting channel that shows observations, but none of the owners' own content."""
    channels = tuple(
        replace(plan, minimum_canaries=10_000) if plan.channel is Channel.HTTP else plan
        for plan in DESCRIPTION.channels
    )
    report = await audit(Board(description=replace(DESCRIPTION, channels=channels)), tmp_path)

    assert Verdict.INCONCLUSIVE is report.verdict
    (reason,) = report.reasons
    assert reason.startswith("http: ")


async def test_an_undeclared_channel_is_inconclusive(tmp_path: Path) -> None:
    """An adapter that observes what it does not declare contradicts itself."""
    channels = tuple(
        plan for plan in DESCRIPTION.channels if plan.channel is not Channel.REDIS_PUBSUB
    )
    report = await audit(Board(description=replace(DESCRIPTION, channels=channels)), tmp_path)

    assert Verdict.INCONCLUSIVE is report.verdict


class Lagging(Board):
    """A board whose answers are old: what is asked is answered as of a while ago."""

    async def invoke(self, call: Call) -> Outcome:
        """Give what an earlier question of the same was answered, for a while."""
        outcome = await super().invoke(call)
        if call.operation.name not in self._lagging or outcome.result is not Result.OK:
            return outcome
        now = asyncio.get_running_loop().time()
        key = (call.operation.name, str(call.scope))
        answers = self._answers.setdefault(key, [])
        answers.append((now, outcome))
        old = [each for time, each in answers if time <= now - LAG_SECONDS]
        empty = replace(
            outcome,
            observations=() if call.operation.reads else outcome.observations,
            readings=tuple(reading._replace(value=0) for reading in outcome.readings),
        )
        return old[-1] if old else empty

    def __init__(self, lagging: Sequence[str], lag_seconds: float) -> None:
        measures = (MeasurePlan("posts", "posts", lag_seconds),)
        super().__init__(description=replace(DESCRIPTION, measures=measures, settle_seconds=2.0))
        self._lagging = lagging
        self._answers: dict[tuple[str, str], list[tuple[float, Outcome]]] = {}


LAG_SECONDS = 0.3


async def test_the_last_look_waits_for_what_settles(tmp_path: Path) -> None:
    """Reads and totals may lag behind, as long as the promised time allows."""
    report = await audit(Lagging(["read", "total"], lag_seconds=1.5), tmp_path)

    assert Verdict.PASS is report.verdict


async def test_a_total_that_lags_more_than_stated_is_a_loss(tmp_path: Path) -> None:
    """Without a stated lag a total must count what was acknowledged before the query."""
    report = await audit(Lagging(["total"], lag_seconds=0.0), tmp_path)

    assert Verdict.LOSS is report.verdict
    assert {"aggregates"} == {witness.oracle for witness in report.witnesses}
