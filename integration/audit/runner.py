"""Runs an audit: prepares, drives, waits for what was promised, looks at what rests, and judges."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Protocol

from integration.audit.adapter import Adapter
from integration.audit.driver import Driver
from integration.audit.history import HistoryWriter
from integration.audit.listeners import Listeners
from integration.audit.population import AuditPlan, populate
from integration.audit.records import NoteKind
from integration.audit.report import Report, check_history
from integration.audit.system import OperationKind
from integration.audit.workload import Step, Workload

HISTORY_NAME = "history.jsonl"

_PREPARE_LIMIT_SECONDS = 120.0
_REST_LIMIT_SECONDS = 120.0
_POLL_SECONDS = 0.05
_POLL_LIMIT_SECONDS = 1.0
_REVOKED_AFTER = 0.6
"""Share of the workload after which the second sessions are logged out."""


class Progress(Protocol):
    """Is told how far an audit is."""

    def phase(self, name: str, total: int | None = None) -> None:
        """Begin a phase of so many steps, where that is known."""

    def advance(self) -> None:
        """Count one step of the phase as done."""


class _Silent:
    def phase(self, name: str, total: int | None = None) -> None:
        pass

    def advance(self) -> None:
        pass


SILENT: Progress = _Silent()


async def run_audit(
    adapter: Adapter,
    plan: AuditPlan,
    directory: Path,
    progress: Progress = SILENT,
    *,
    command: str = "",
    program: str = "",
) -> Report:
    """Drive a system as planned, and judge what was seen.

    Writes `history.jsonl` into the directory, which exists, while running; cancelling leaves it
    readable. What the adapter raises ends in the report (INCONCLUSIVE), not here. Everything is
    waited for with a limit. The command line and the program
    in it, where there are any, stand in the report.
    """
    path = directory / HISTORY_NAME
    with HistoryWriter(
        path, adapter.description, plan, command=command, program=program
    ) as history:
        try:
            await _Audit(Driver(adapter, plan, history), plan, progress).run()
        except asyncio.CancelledError:
            history.note(NoteKind.INTERRUPTED, "the audit was interrupted")
            raise
        history.ended()
    progress.phase("checking")
    return await asyncio.to_thread(check_history, path)


class _Audit:
    """The phases of one audit."""

    def __init__(self, driver: Driver, plan: AuditPlan, progress: Progress) -> None:
        self._driver = driver
        self._plan = plan
        self._progress = progress
        self._population = populate(plan, driver.description.operations)
        self._workload = Workload(driver.description, self._population, plan)
        self._listeners = Listeners(driver)
        self._revoked_at = 0.0

    async def run(self) -> None:
        self._driver.history.population(self._population)
        if not await self._prepare():
            return
        try:
            await self._drive()
            await self._settle()
        finally:
            await self._listeners.close()
        await self._look_at_rest()

    async def _prepare(self) -> bool:
        self._progress.phase("preparing")
        try:
            async with asyncio.timeout(_PREPARE_LIMIT_SECONDS):
                await self._driver.adapter.prepare(self._population, self._driver.issue)
        except Exception as error:  # noqa: BLE001 - whatever an adapter raises is its fault
            self._driver.fault(f"prepare() raised {error!r}")
            return False
        await self._perform(self._workload.creations())
        return True

    async def _drive(self) -> None:
        self._progress.phase("connecting")
        await self._listeners.watch()
        await self._listeners.open(self._workload.connections())
        await self._listeners.open(self._workload.strangers())
        self._progress.phase("driving", self._plan.operations)
        steps = self._workload.main()
        before = round(self._plan.operations * _REVOKED_AFTER)
        await self._perform(islice(steps, before))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._revoke())
            group.create_task(self._perform(steps))
        if self._workload.revoked:
            await self._after_revocation()

    async def _revoke(self) -> None:
        await self._perform(self._workload.revocations())
        self._revoked_at = asyncio.get_running_loop().time()

    async def _after_revocation(self) -> None:
        """Wait for the stated bound to pass, which is all that a revocation promises."""
        self._progress.phase("after revocation")
        due = self._revoked_at + self._driver.description.revocation_bound_seconds
        await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()) + _POLL_SECONDS)
        await self._perform(self._workload.afterwards())

    async def _settle(self) -> None:
        """Wait until everything that was acknowledged has reached its owners, or the limit."""
        self._progress.phase("settling")
        revoked = {principal.name for principal in self._workload.revoked}
        description = self._driver.description
        lags = [measure.lag_seconds for measure in description.measures]
        deadline = self._deadline(max([description.settle_seconds, *lags]))
        settled = partial(self._listeners.caught_up, revoked)
        while not (settled() or self._passed(deadline)):  # noqa: ASYNC110 - no single event sets it
            await asyncio.sleep(_POLL_SECONDS)
        for kind in (OperationKind.READ, OperationKind.AGGREGATE):
            looks = list(self._workload.last_looks(kind))
            self._progress.phase(f"last looks ({kind})", len(looks))
            await self._each(looks, lambda step: self._last_look(step, deadline))

    async def _last_look(self, step: Step, deadline: float) -> None:
        """Look until everything is there, more and more rarely, and once after the limit."""
        pause = _POLL_SECONDS
        while True:
            last = self._passed(deadline)
            if await self._driver.perform(step) or last:
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _POLL_LIMIT_SECONDS)
            step = self._workload.again(step)

    async def _look_at_rest(self) -> None:
        self._progress.phase("looking at what rests")
        try:
            async with asyncio.timeout(_REST_LIMIT_SECONDS):
                async for observation in self._driver.adapter.rest():
                    self._driver.observe(observation)
        except Exception as error:  # noqa: BLE001 - whatever an adapter raises is its fault
            self._driver.fault(f"rest() raised {error!r}")

    async def _perform(self, steps: Iterable[Step]) -> None:
        await self._each(steps, self._driver.perform)

    async def _each(self, steps: Iterable[Step], act: Callable[[Step], Awaitable[object]]) -> None:
        """Act on steps in their order, as many at a time as there are workers."""
        remaining = iter(steps)

        async def work() -> None:
            for step in remaining:
                await act(step)
                self._progress.advance()

        async with asyncio.TaskGroup() as group:
            for _ in range(self._plan.workers):
                group.create_task(work())

    @staticmethod
    def _deadline(seconds: float) -> float:
        return asyncio.get_running_loop().time() + seconds

    @staticmethod
    def _passed(deadline: float) -> bool:
        return asyncio.get_running_loop().time() >= deadline
