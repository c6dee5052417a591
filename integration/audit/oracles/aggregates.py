"""Aggregates: a total holds what is its scope's, all of it, and nothing else.

It lies between what was acknowledged before the query and what was sent by its end, for its scope
alone, on the driver's clock.

Above the upper bound the total holds what is others' (or an effect that came twice); below the
lower bound it lacks what was acknowledged, after the stated lag of asynchronous paths.
"""

from bisect import bisect_left
from dataclasses import dataclass, field

from integration.audit.adapter import Reading, Result
from integration.audit.findings import Finding, FindingLog
from integration.audit.ledger import Ledger, OperationEntry
from integration.audit.oracles.oracle import Oracle
from integration.audit.records import Completed
from integration.audit.scopes import Level, Scope
from integration.audit.vocabulary import Anomaly

_NANOSECONDS = 1_000_000_000


@dataclass(slots=True)
class _Account:
    """What was contributed to one measure of one scope."""

    sent: int = 0
    """Sum of everything that was sent and has not failed."""
    times: list[int] = field(default_factory=list)
    """When contributions were acknowledged, in order."""
    sums: list[int] = field(default_factory=list)
    """What they came to by then."""

    def acknowledged_before(self, time: int) -> int:
        """Give the sum of what was acknowledged before a moment."""
        position = bisect_left(self.times, time)
        return self.sums[position - 1] if position else 0


class Aggregates(Oracle):
    """Keeps its own accounts, and compares every total with them."""

    name = "aggregates"

    def __init__(self, ledger: Ledger, findings: FindingLog) -> None:
        """Begin with empty accounts."""
        super().__init__(ledger, findings)
        self._lags = {
            measure.name: int(measure.lag_seconds * _NANOSECONDS)
            for measure in ledger.description.measures
        }
        self._accounts: dict[tuple[str, Scope], _Account] = {}
        self._recent: dict[str, dict[Scope, int]] = {}

    def invoked(self, operation: OperationEntry) -> None:
        """Raise the upper bounds of everything that the operation may add to."""
        if operation.own:
            for account, amount in self._contributions(operation):
                account.sent += amount

    def completed(self, operation: OperationEntry, completed: Completed) -> None:
        """Raise the lower bounds, or take a failed one back; judge the totals that came."""
        if operation.own and operation.plan.contributes:
            self._contributed(operation, completed)
        if operation.own and completed.result is Result.OK:
            for reading in completed.readings:
                self._judge(operation, completed, reading)

    def _contributed(self, operation: OperationEntry, completed: Completed) -> None:
        for account, amount in self._contributions(operation):
            if completed.result is Result.FAILED:
                account.sent -= amount
            elif completed.result is Result.OK:
                account.times.append(completed.time)
                account.sums.append((account.sums[-1] if account.sums else 0) + amount)
        if completed.result is not Result.FAILED:
            for measure in operation.plan.contributes:
                self._recent.setdefault(measure, {})[operation.scope] = operation.number

    def _contributions(self, operation: OperationEntry) -> list[tuple[_Account, int]]:
        levels = range(Level.TENANT, operation.scope.level + 1)
        return [
            (self._account(measure, operation.scope.at(Level(level))), amount)
            for measure, amount in operation.plan.contributes.items()
            for level in levels
        ]

    def _account(self, measure: str, scope: Scope) -> _Account:
        return self._accounts.setdefault((measure, scope), _Account())

    def _judge(self, operation: OperationEntry, completed: Completed, reading: Reading) -> None:
        scope = operation.scope if reading.scope is None else reading.scope
        account = self._account(reading.measure, scope)
        lag = self._lags.get(reading.measure, 0)
        lower = account.acknowledged_before(operation.time - lag)
        upper = account.sent
        self.findings.looked(Anomaly.AGGREGATE_CONTAMINATION)
        self.findings.looked(Anomaly.LOST_DELIVERY)
        if lower <= reading.value <= upper:
            return
        too_much = reading.value > upper
        writer = self._stranger(reading.measure, scope) if too_much else None
        owner = scope if writer is None else self.ledger.operations[writer].scope
        self.findings.add(
            Finding(
                self.name,
                Anomaly.AGGREGATE_CONTAMINATION if too_much else Anomaly.LOST_DELIVERY,
                operation.plan.channel,
                f"{reading.measure} of {scope} is {reading.value}, and must lie between {lower} "
                f"(acknowledged before) and {upper} (sent by then)",
                owner=owner,
                observer=scope,
                token=f"{reading.measure}={reading.value}",
                writer=writer,
                reader=operation.number,
                time=completed.time,
            )
        )

    def _stranger(self, measure: str, scope: Scope) -> int | None:
        """Give the latest contribution from outside a scope, the nearest outsider's first."""
        outside = [
            (scope.tenant == other.tenant, scope.user == other.user, number)
            for other, number in self._recent.get(measure, {}).items()
            if not scope.contains(other)
        ]
        return max(outside)[2] if outside else None
