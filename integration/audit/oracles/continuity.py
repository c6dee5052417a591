"""Continuity: whoever resumes a thread's session gets the one that its last write opened.

The session of a thread is a register: an acknowledged write that names a session makes it the
current one, and any other acknowledged operation that names one has read it. A read is right if
some order of all of them, in real time, explains it. What cannot be ordered may stand either way;
a write of unknown outcome may have opened any session, from when it was sent.
"""

from typing import NamedTuple

from integration.audit.adapter import Result
from integration.audit.findings import Finding, FindingLog
from integration.audit.ledger import Ledger, OperationEntry
from integration.audit.oracles.oracle import Oracle
from integration.audit.records import Completed
from integration.audit.scopes import Scope
from integration.audit.system import OperationKind
from integration.audit.vocabulary import Anomaly


class _Named(NamedTuple):
    """An acknowledged operation that named a session; times in nanoseconds."""

    operation: OperationEntry
    session: str
    completed: int

    @property
    def invoked(self) -> int:
        return self.operation.time

    def precedes(self, other: "_Named") -> bool:
        """Whether it had ended when the other was sent."""
        return self.completed < other.invoked


class Continuity(Oracle):
    """Follows sessions from those who opened them to those who were given them."""

    name = "continuity"

    def __init__(self, ledger: Ledger, findings: FindingLog) -> None:
        """Begin with no session."""
        super().__init__(ledger, findings)
        self._opened: dict[Scope, list[_Named]] = {}
        self._resumed: list[_Named] = []
        self._uncertain: dict[Scope, dict[int, int]] = {}
        """When writes were sent that may have opened a session, by operation."""
        self._first: dict[str, _Named] = {}
        """The first operation that named a session for its own thread."""

    def invoked(self, operation: OperationEntry) -> None:
        """Suppose that a write opens something, until its end is known."""
        if operation.own and operation.plan.kind is OperationKind.WRITE:
            self._uncertain.setdefault(operation.scope, {})[operation.number] = operation.time

    def completed(self, operation: OperationEntry, completed: Completed) -> None:
        """Take note of the session that an operation names."""
        acknowledged = completed.result is Result.OK and completed.session
        if acknowledged or completed.result is Result.FAILED:
            self._uncertain.get(operation.scope, {}).pop(operation.number, None)
        if not acknowledged:
            return
        named = _Named(operation, completed.session, completed.time)
        if operation.own:
            self._first.setdefault(named.session, named)
        if operation.own and operation.plan.kind is OperationKind.WRITE:
            self._opened.setdefault(operation.scope, []).append(named)
        else:
            self._resumed.append(named)

    def ended(self) -> None:
        """Judge every session that was given, when all that may explain it is known."""
        for named in (*self._resumed, *(each for held in self._opened.values() for each in held)):
            first = self._first.get(named.session)
            if first is not None and first.operation.scope != named.operation.scope:
                self.findings.looked(Anomaly.PHANTOM_CONTINUITY)
                self._report(named, first, f"the session of {first.operation.scope} was given")
        for named in self._resumed:
            self.findings.looked(Anomaly.PHANTOM_CONTINUITY)
            if not named.operation.own:
                self._report(named, None, "a stranger was given a session")
                continue
            later = self._replacement(named)
            if later is not None:
                detail = f"not the session that operation {later.operation.number} had opened"
                self._report(named, later, detail, loss=True)

    def _replacement(self, named: _Named) -> _Named | None:
        """The operation after which nobody could be given this session any more, if there is one.

        A session that no write is known to have opened was opened by its resumption, which must be
        the thread's first then. A write of unknown outcome explains any session.
        """
        scope = named.operation.scope
        if any(sent < named.completed for sent in self._uncertain.get(scope, {}).values()):
            return None
        others = [
            each
            for each in self._opened.get(scope, ())
            if each.session != named.session and each.precedes(named)
        ]
        openings = [each for each in self._opened.get(scope, ()) if each.session == named.session]
        if not openings:
            others += [
                each
                for each in self._resumed
                if each.operation.own
                and each.operation.scope == scope
                and each.session != named.session
                and each.precedes(named)
            ]
            return max(others, key=lambda each: each.completed, default=None)
        for opening in openings:
            if not any(opening.precedes(other) for other in others):
                return None
        return max(others, key=lambda each: each.invoked, default=None)

    def _report(
        self, named: _Named, other: _Named | None, detail: str, *, loss: bool = False
    ) -> None:
        operation = named.operation
        self.findings.add(
            Finding(
                self.name,
                Anomaly.PHANTOM_CONTINUITY,
                operation.plan.channel,
                f"{operation.plan.name} of {operation.scope}: {detail}",
                owner=operation.scope if other is None else other.operation.scope,
                observer=operation.principal.scope,
                token=named.session,
                writer=None if other is None else other.operation.number,
                reader=operation.number,
                time=named.completed,
                loss=loss,
            )
        )
