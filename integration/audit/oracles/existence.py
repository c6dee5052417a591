"""Existence: what exists elsewhere and what exists nowhere get the same answer.

Twin probes ask the same of both. Their answers are compared without what must differ: the names
that were asked for, the trace, identifiers of the request itself, and times.
"""

import re
from typing import NamedTuple

from integration.audit.adapter import Result
from integration.audit.findings import Finding, FindingLog
from integration.audit.ledger import Ledger, OperationEntry
from integration.audit.oracles.oracle import Oracle
from integration.audit.records import Completed
from integration.audit.vocabulary import Anomaly

_VOLATILE = (
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
    r"\b(?:[0-9a-f]{32}|[0-9a-f]{16})\b",
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?",
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT",
)


class _Answer(NamedTuple):
    """What a probe got, without what may differ."""

    operation: OperationEntry
    result: Result
    shape: tuple[str, ...]
    time: int


class Existence(Oracle):
    """Compares the answers of twin probes."""

    name = "existence"

    def __init__(self, ledger: Ledger, findings: FindingLog) -> None:
        """Prepare what is disregarded."""
        super().__init__(ledger, findings)
        patterns = (*_VOLATILE, *ledger.description.volatile)
        self._volatile = re.compile("|".join(f"(?:{pattern})" for pattern in patterns))
        self._waiting: dict[int, _Answer] = {}
        self._probes: dict[int, int] = {}

    def invoked(self, operation: OperationEntry) -> None:
        """Remember which probe is whose twin."""
        if operation.twin is not None:
            self._probes[operation.number] = operation.twin
            self._probes[operation.twin] = operation.number

    def completed(self, operation: OperationEntry, completed: Completed) -> None:
        """Keep a probe's answer until its twin's has come, then compare them."""
        if operation.own:
            return
        shape = self._shape(operation, completed)
        answer = _Answer(operation, completed.result, shape, completed.time)
        twin = self._waiting.pop(self._probes.pop(operation.number, -1), None)
        if twin is None:
            self._waiting[operation.number] = answer
            return
        if Result.UNKNOWN in (answer.result, twin.result):
            return
        self.findings.looked(Anomaly.EXISTENCE_ORACLE)
        if answer.shape != twin.shape:
            existing, absent = (twin, answer) if operation.absent else (answer, twin)
            self._report(existing, absent)

    def _shape(self, operation: OperationEntry, completed: Completed) -> tuple[str, ...]:
        names = sorted((*operation.mentions, *completed.mentions), key=len, reverse=True)
        texts = [completed.status, *(str(each.data) for each in completed.observations)]
        shape = []
        for text in texts:
            for name in names:
                text = text.replace(name, "<object>")  # noqa: PLW2901 - each replaces in turn
            shape.append(self._volatile.sub("<volatile>", text.replace(operation.trace, "<trace>")))
        return (completed.result.value, *shape)

    def _report(self, existing: _Answer, absent: _Answer) -> None:
        operation = existing.operation
        self.findings.add(
            Finding(
                self.name,
                Anomaly.EXISTENCE_ORACLE,
                operation.plan.channel,
                f"{operation.plan.name} for an object of {operation.scope} answers "
                f"{' '.join(existing.shape)[:200]!r}, for an absent one "
                f"{' '.join(absent.shape)[:200]!r}",
                owner=operation.scope,
                observer=operation.principal.scope,
                writer=absent.operation.number,
                reader=operation.number,
                time=existing.time,
            )
        )
