"""A whole audit of a system in this process: correct, with each fault, and with a bad adapter."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from integration.audit import (
    Anomaly,
    AuditPlan,
    Call,
    Channel,
    ChannelPlan,
    Issued,
    MeasurePlan,
    Observation,
    Outcome,
    Population,
    Report,
    Result,
    Scope,
    Subscription,
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
    "tells": Anomaly.EXISTENCE_ORACLE,
    "log": Anomaly.CONTEXT_BLEED,
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
    assert {Anomaly.PHANTOM_CONTINUITY, Anomaly.PRIVILEGE_ESCALATION} == {
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
    assert report.anomalies[anomaly].count > 0
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


class Raising(Board):
    """A board whose adapter breaks at one place."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self.place = place

    def _break(self, place: str) -> None:
        if self.place == place:
            raise RuntimeError(place)

    async def prepare(self, population: Population, issue: Callable[[Issued], None]) -> None:
        """Break, or do as the board."""
        self._break("prepare")
        await super().prepare(population, issue)

    async def invoke(self, call: Call) -> Outcome:
        """Misbehave from a certain call on."""
        if call.number == 40:
            self._break("invoke")
            if self.place == "nothing":
                return None  # type: ignore[return-value]
            if self.place == "unrecordable":
                return Outcome.ok(200)  # type: ignore[arg-type]
        return await super().invoke(call)

    @asynccontextmanager
    async def subscribe(
        self, subscription: Subscription
    ) -> AsyncIterator[AsyncIterator[Observation]]:
        """Misbehave on connections."""
        self._break("subscribe")
        async with super().subscribe(subscription) as observations:
            yield observations

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[Observation]]:
        """Break, or do as the board."""
        self._break("watch")
        async with super().watch() as observations:
            yield observations

    async def rest(self) -> AsyncIterator[Observation]:
        """Do as the board, and break after it."""
        async for observation in super().rest():
            yield observation
        self._break("rest")


@pytest.mark.parametrize(
    "place", ["prepare", "invoke", "subscribe", "watch", "rest", "nothing", "unrecordable"]
)
async def test_an_adapter_that_breaks_is_inconclusive(tmp_path: Path, place: str) -> None:
    """Whatever the adapter raises or makes up, the audit ends with a report that is no PASS."""
    report = await audit(Raising(place), tmp_path)

    assert Verdict.INCONCLUSIVE is report.verdict
    assert any(reason.startswith("adapter: ") for reason in report.reasons)


class Hanging(Board):
    """A board that stops answering."""

    async def invoke(self, call: Call) -> Outcome:
        """Misbehave from a certain call on."""
        if call.number >= 60:
            await asyncio.Event().wait()
        return await super().invoke(call)


async def test_a_system_that_hangs_is_inconclusive(tmp_path: Path) -> None:
    """Every wait has a limit, and outcomes that nobody knows are no evidence."""
    description = replace(DESCRIPTION, operation_limit_seconds=0.02, settle_seconds=0.1)
    report = await audit(Hanging(description=description), tmp_path)

    assert Verdict.INCONCLUSIVE is report.verdict
    assert any("is unknown" in reason for reason in report.reasons)


class Closing(Board):
    """A board that closes every connection after its first event."""

    @asynccontextmanager
    async def subscribe(
        self, subscription: Subscription
    ) -> AsyncIterator[AsyncIterator[Observation]]:
        """Misbehave on connections."""
        async with super().subscribe(subscription) as observations:

            async def first() -> AsyncIterator[Observation]:
                yield await anext(observations)

            yield first()


async def test_connections_that_the_system_closes_are_inconclusive(tmp_path: Path) -> None:
    """Who closes early cannot be shown to have delivered everything."""
    report = await audit(Closing(), tmp_path)

    assert Verdict.INCONCLUSIVE is report.verdict


class Refusing(Board):
    """A board that refuses some calls of its own users."""

    def __init__(self, refused: Callable[[Call], bool]) -> None:
        super().__init__()
        self._refused = refused

    async def invoke(self, call: Call) -> Outcome:
        """Refuse, or do as the board."""
        return Outcome.failed("503") if self._refused(call) else await super().invoke(call)


async def test_an_operation_that_never_succeeds_is_inconclusive(tmp_path: Path) -> None:
    """What was never done was never seen to be isolated."""
    report = await audit(Refusing(lambda call: call.operation.name == "tenant total"), tmp_path)

    assert Verdict.INCONCLUSIVE is report.verdict
    (reason,) = report.reasons
    assert reason.startswith("tenant total was never acknowledged")


async def test_a_last_look_that_fails_is_inconclusive(tmp_path: Path) -> None:
    """Whoever cannot look at the end cannot tell what was lost."""
    scope = Scope("tenant-0", "user-0", "thread-0")
    refusing = Refusing(
        lambda call: call.final and call.scope == scope and call.operation.name == "read"
    )
    report = await audit(refusing, tmp_path)

    assert Verdict.INCONCLUSIVE is report.verdict
    assert ["the last read of tenant-0/user-0/thread-0 was not answered"] == report.reasons


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


async def test_a_double_identifier_is_inconclusive(tmp_path: Path) -> None:
    """One identifier for two owners can tell nobody's scope."""

    class Doubling(Board):
        async def prepare(self, population: Population, issue: Callable[[Issued], None]) -> None:
            await super().prepare(population, issue)
            issue(Issued("user", "id-everybody", population.users[0].scope))
            issue(Issued("user", "id-everybody", population.users[1].scope))

    report = await audit(Doubling(), tmp_path)

    assert Verdict.INCONCLUSIVE is report.verdict


async def test_an_interrupted_audit_leaves_a_history(tmp_path: Path) -> None:
    """What had been seen can still be checked, and is inconclusive."""
    started = asyncio.Event()

    class Slow(Board):
        async def invoke(self, call: Call) -> Outcome:
            if call.number == 30:
                started.set()
                await asyncio.Event().wait()
            return await super().invoke(call)

    description = replace(DESCRIPTION, operation_limit_seconds=20.0)
    task = asyncio.create_task(run_audit(Slow(description=description), PLAN, tmp_path))
    async with asyncio.timeout(20):
        await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    report = check_history(tmp_path / "history.jsonl")

    assert Verdict.INCONCLUSIVE is report.verdict
    assert any("interrupted" in reason for reason in report.reasons)


async def test_a_leak_outranks_a_broken_adapter(tmp_path: Path) -> None:
    """What was seen is seen, even when the adapter broke later."""

    class Both(Board):
        async def rest(self) -> AsyncIterator[Observation]:
            self._broken()
            async for observation in super().rest():
                yield observation

        @staticmethod
        def _broken() -> NoReturn:
            raise RuntimeError

    report = await audit(Both("wrong thread"), tmp_path)

    assert Verdict.LEAK is report.verdict
    assert report.reasons
