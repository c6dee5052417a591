"""Adapters and systems that misbehave: whatever they do, the audit ends, and never passes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from integration.audit import (
    AuditPlan,
    Call,
    Channel,
    Issued,
    Observation,
    Outcome,
    Population,
    Reading,
    Report,
    Scope,
    Subscription,
    Verdict,
    check_history,
    run_audit,
)
from integration.audit.tests.boards import DESCRIPTION, Board

PLAN = AuditPlan(operations=150, seed=3)


async def audit(board: Board, directory: Path) -> Report:
    """Run an audit that must end."""
    async with asyncio.timeout(30):
        return await run_audit(board, PLAN, directory)


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


GARBAGE: list[Any] = [
    Outcome.ok("200", [Observation("http", "a channel's name")]),  # type: ignore[arg-type]
    Outcome.ok("200", [Observation(Channel.HTTP, None)]),  # type: ignore[arg-type]
    Outcome.ok("200", [Observation(Channel.HTTP, "", Scope(), attribution={"user": 5})]),  # type: ignore[dict-item]
    Outcome.ok("200", [Observation(Channel.HTTP, "", source=["a"])]),  # type: ignore[arg-type]
    Outcome.ok("200", [Observation(Channel.HTTP, "", sequence=1.5)]),  # type: ignore[arg-type]
    Outcome.ok("200", [Observation(Channel.HTTP, "", "a/b/c")]),  # type: ignore[arg-type]
    Outcome.ok("200", [Observation(Channel.HTTP, "", allowed=("all",))]),  # type: ignore[arg-type]
    Outcome.ok("200", ["an answer"]),  # type: ignore[list-item]
    Outcome.ok("200", readings=[Reading("posts", 0.5)]),  # type: ignore[arg-type]
    Outcome.ok("200", readings=[("posts", 1)]),  # type: ignore[list-item]
    Outcome.ok("200", mentions=[7]),  # type: ignore[list-item]
    Outcome.ok("200", issued=[("thread", "id-123456", None)]),  # type: ignore[list-item]
    "ok",
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
async def test_an_adapter_that_makes_things_up_is_inconclusive(
    tmp_path: Path, garbage: Outcome
) -> None:
    """What is not what the protocol says becomes a note, and the history stays readable."""

    class Lying(Board):
        async def invoke(self, call: Call) -> Outcome:
            return garbage if call.number == 40 else await super().invoke(call)

    report = await audit(Lying(), tmp_path)

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
