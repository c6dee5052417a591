"""Shows a history to every oracle, once and in order, and keeps what a verdict needs."""

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from integration.audit.adapter import Result
from integration.audit.findings import FindingLog
from integration.audit.ledger import Ledger, OperationEntry, Sighting
from integration.audit.oracles.aggregates import Aggregates
from integration.audit.oracles.attribution import Attribution
from integration.audit.oracles.continuity import Continuity
from integration.audit.oracles.delivery import Delivery
from integration.audit.oracles.existence import Existence
from integration.audit.oracles.lifecycle import Lifecycle
from integration.audit.oracles.oracle import Oracle
from integration.audit.oracles.privilege import Privilege
from integration.audit.oracles.provenance import ChannelCoverage, Provenance
from integration.audit.records import (
    Closing,
    Completed,
    Ended,
    Header,
    IdentifierIssued,
    Invoked,
    Noted,
    Observed,
    Record,
    Subscribed,
    Unsubscribed,
)
from integration.audit.scopes import Scope
from integration.audit.system import OperationKind
from integration.audit.vocabulary import Channel


@dataclass(slots=True)
class Statistics:
    """What was done, in numbers. Times in nanoseconds."""

    results: Counter[Result] = field(default_factory=Counter)
    acknowledged: Counter[str] = field(default_factory=Counter)
    """Own operations that were acknowledged, by name."""
    probes: int = 0
    """Operations on what is others', or nowhere."""
    observations: int = 0
    identifiers: int = 0
    connections: int = 0
    latencies: "array[int]" = field(default_factory=lambda: array("q"))
    last_time: int = 0


class Examination:
    """One pass over a history. Feed it, then read it."""

    def __init__(self, header: Header) -> None:
        """Begin with what the header tells."""
        self.header = header
        self.ledger = Ledger(header)
        self.findings = FindingLog()
        self.statistics = Statistics()
        self.notes: list[Noted] = []
        self.whole = False
        """Whether the history came to its end."""
        self.final_reads_missing: set[tuple[str, Scope]] = set()
        self.closed_by_system: list[str] = []
        """Owners' connections that the system ended though nobody was logged out."""
        self._provenance = Provenance(self.ledger, self.findings)
        self._oracles: tuple[Oracle, ...] = (
            self._provenance,
            *(
                oracle(self.ledger, self.findings)
                for oracle in (
                    Attribution,
                    Delivery,
                    Aggregates,
                    Existence,
                    Lifecycle,
                    Continuity,
                    Privilege,
                )
            ),
        )
        # Most of a history is observations: only who looks at each of them is called for each.
        self._sighted_by = [
            oracle.sighted for oracle in self._oracles if type(oracle).sighted is not Oracle.sighted
        ]
        self._revoked: set[str] = set()

    @property
    def coverage(self) -> dict[Channel, ChannelCoverage]:
        """What each channel has shown."""
        return self._provenance.coverage

    def feed(self, record: Record) -> None:
        """Take one record; `KeyError` when it refers to what no earlier record declared."""
        self.ledger.learn(record)
        if isinstance(record, Observed):
            self.statistics.last_time = max(self.statistics.last_time, record.time)
            self._sighted(self.ledger.seen(record))
        elif isinstance(record, Completed):
            self._completed(record)
        elif isinstance(record, Invoked):
            self._invoked(self.ledger.operations[record.number])
        elif isinstance(record, Subscribed):
            self.statistics.connections += 1
            for oracle in self._oracles:
                oracle.subscribed(self.ledger.subscriptions[record.number])
        elif isinstance(record, Unsubscribed):
            self._unsubscribed(record)
        elif isinstance(record, IdentifierIssued):
            self.statistics.identifiers += 1
        elif isinstance(record, Noted):
            self.notes.append(record)
        elif isinstance(record, Ended):
            self.whole = True
            self.statistics.last_time = max(self.statistics.last_time, record.time)

    def end(self) -> None:
        """Let the oracles judge what they could judge only now."""
        for oracle in self._oracles:
            oracle.ended()

    def _sighted(self, sighting: Sighting) -> None:
        self.statistics.observations += 1
        for sighted in self._sighted_by:
            sighted(sighting)
        subscription = sighting.subscription
        if subscription is not None:
            for oracle in self._oracles:
                oracle.heard(sighting, subscription)

    def _invoked(self, operation: OperationEntry) -> None:
        if not operation.own:
            self.statistics.probes += 1
        elif operation.final and operation.plan.reads:
            self.final_reads_missing.add((operation.plan.name, operation.scope))
        for oracle in self._oracles:
            oracle.invoked(operation)

    def _completed(self, completed: Completed) -> None:
        operation = self.ledger.operations[completed.number]
        self.statistics.results[completed.result] += 1
        self.statistics.latencies.append(completed.time - operation.time)
        self.statistics.last_time = max(self.statistics.last_time, completed.time)
        if completed.result is Result.OK and operation.own:
            self.statistics.acknowledged[operation.plan.name] += 1
            if operation.final:
                self.final_reads_missing.discard((operation.plan.name, operation.scope))
            if operation.plan.kind is OperationKind.REVOKE:
                self._revoked.add(operation.principal.name)
        for sighting in self.ledger.answered(completed):
            self._sighted(sighting)
        for oracle in self._oracles:
            oracle.completed(operation, completed)

    def _unsubscribed(self, record: Unsubscribed) -> None:
        subscription = self.ledger.subscriptions.get(record.number)
        if subscription is None:
            return
        expected = not subscription.own or subscription.principal.name in self._revoked
        if record.reason == Closing.SERVER and not expected:
            self.closed_by_system.append(
                f"{subscription.plan.name} of {subscription.principal.name} ({record.status})"
            )
        for oracle in self._oracles:
            oracle.unsubscribed(subscription, record)


def examine(records: Iterable[Record]) -> Examination:
    """Show a whole history, its header first, to every oracle."""
    iterator = iter(records)
    header = next(iterator)
    if not isinstance(header, Header):
        raise TypeError(f"a history begins with its header, not with {type(header).__name__}")
    examination = Examination(header)
    for record in iterator:
        examination.feed(record)
    examination.end()
    return examination
