"""What the system has acknowledged so far, so that the audit knows what it still waits for.

This decides only how long the audit looks. Whether something was lost is judged from the history.
"""

from collections.abc import Iterable

from integration.audit.adapter import Call, Outcome, Result
from integration.audit.canaries import CanaryMint
from integration.audit.encodings import as_text
from integration.audit.scopes import Level, Scope
from integration.audit.system import OperationKind


class Promises:
    """Acknowledged writes by stream and scope, acknowledged totals by measure and scope."""

    def __init__(self, mint: CanaryMint) -> None:
        """Begin with nothing promised."""
        self._mint = mint
        self._writes: dict[tuple[str, Scope], dict[str, int]] = {}
        self._totals: dict[tuple[str, Scope], int] = {}

    def acknowledged(self, call: Call, invoked: int, outcome: Outcome) -> None:
        """Take note of an own operation that has ended; `invoked` in nanoseconds."""
        own = call.principal.authority.contains(call.scope) and not call.absent
        if not own or outcome.result is not Result.OK:
            return
        plan = call.operation
        for level in range(Level.TENANT, call.scope.level + 1):
            scope = call.scope.at(Level(level))
            for measure, amount in plan.contributes.items():
                key = (measure, scope)
                self._totals[key] = self._totals.get(key, 0) + amount
            if call.canaries:
                for stream in plan.delivers_to:
                    self._writes.setdefault((stream, scope), {})[call.canaries[0]] = invoked

    def kept(self, call: Call, outcome: Outcome) -> bool:
        """Tell whether an owner's last look shows everything that was acknowledged."""
        if outcome.result is not Result.OK:
            return False
        if call.operation.kind is OperationKind.AGGREGATE:
            return all(
                reading.value >= self._totals.get((reading.measure, reading.scope or call.scope), 0)
                for reading in outcome.readings
            )
        seen = self.found(as_text(each.data) for each in outcome.observations)
        return not self.missing(call.operation.reads, call.scope, seen)

    def missing(self, stream: str, scope: Scope, seen: set[str], since: int = -1) -> bool:
        """Tell whether something that was sent after `since` is not among what was seen."""
        due = self._writes.get((stream, scope), {})
        return any(time > since and token not in seen for token, time in due.items())

    def found(self, texts: Iterable[str]) -> set[str]:
        """Give the canaries that texts hold."""
        return {token for text in texts for token in self._mint.find(text)}
