"""Delivery: every acknowledged write is seen by its owner, in order, once.

Unknown outcomes are allowed either way. Order is real-time order: a write that was acknowledged
before another was sent stands before it; writes that overlapped may stand either way.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from integration.audit.adapter import Result
from integration.audit.findings import Finding, FindingLog
from integration.audit.ledger import Ledger, OperationEntry, Sighting, SubscriptionEntry
from integration.audit.oracles.oracle import Oracle
from integration.audit.records import Closing, Completed, Unsubscribed
from integration.audit.scopes import Level, Scope
from integration.audit.system import OperationKind
from integration.audit.vocabulary import Anomaly, Channel

_NEVER = -1

_Place = tuple[str, Scope]
"""A stream of a scope."""


@dataclass(slots=True)
class _Write:
    """A write that is due somewhere; times in nanoseconds."""

    operation: int
    scope: Scope
    invoked: int
    acknowledged: int = _NEVER


class _FinalRead(NamedTuple):
    """The last look that an owner took at a stream."""

    operation: OperationEntry
    entries: list[tuple[list[str], int | None]]
    """The canaries of each entry, and its sequence number."""


@dataclass(slots=True)
class _Listening:
    """What one connection has brought."""

    seen: set[str] = field(default_factory=set)
    sequence: int | None = None


class Delivery(Oracle):
    """Follows acknowledged writes to their owners."""

    name = "delivery"

    def __init__(self, ledger: Ledger, findings: FindingLog) -> None:
        """Begin with nothing due."""
        super().__init__(ledger, findings)
        self._writes: dict[_Place, dict[str, _Write]] = {}
        self._pending: dict[int, _Write] = {}
        self._final: dict[_Place, _FinalRead] = {}
        self._listening: dict[int, _Listening] = {}
        self._revoked: set[str] = set()

    def invoked(self, operation: OperationEntry) -> None:
        """Expect a write in its streams, from now on possibly and from its end certainly."""
        if not operation.plan.delivers_to or not operation.own or not operation.canaries:
            return
        write = _Write(operation.number, operation.scope, operation.time)
        self._pending[operation.number] = write
        for place in _places(operation):
            self._writes.setdefault(place, {})[operation.canaries[0]] = write

    def completed(self, operation: OperationEntry, completed: Completed) -> None:
        """Take an acknowledgement, a failure, or an owner's last look."""
        plan = operation.plan
        if plan.kind is OperationKind.REVOKE and completed.result is Result.OK:
            self._revoked.add(operation.principal.name)
        write = self._pending.pop(operation.number, None)
        if write is not None and completed.result is Result.OK:
            write.acknowledged = completed.time
        if plan.reads and operation.own and operation.final and completed.result is Result.OK:
            entries = [
                (self.ledger.mint.find(str(observation.data)), observation.sequence)
                for observation in completed.observations
                if observation.stream in ("", plan.reads)
            ]
            self._final[plan.reads, operation.scope] = _FinalRead(operation, entries)

    def subscribed(self, subscription: SubscriptionEntry) -> None:
        """Begin to listen along."""
        if subscription.plan.stream and subscription.own:
            self._listening[subscription.number] = _Listening()

    def heard(self, sighting: Sighting, subscription: SubscriptionEntry) -> None:
        """Check the order of one event on its connection, and note what it brought."""
        listening = self._listening.get(subscription.number)
        if listening is None:
            return
        listening.seen.update(self.ledger.mint.find(sighting.text))
        sequence = sighting.observation.sequence
        if sequence is None or sighting.observation.stream not in ("", subscription.plan.stream):
            return
        before, listening.sequence = listening.sequence, sequence
        if before is None:
            return
        self.findings.looked(Anomaly.LOST_DELIVERY)
        if sequence <= before:
            what = "twice" if sequence == before else "out of order"
        elif subscription.plan.gapless and sequence != before + 1:
            what = "after a gap"
        else:
            return
        self._report(
            subscription.scope,
            subscription.plan.channel,
            f"event {sequence} came {what}, after event {before}",
            subscription=subscription.number,
        )

    def unsubscribed(self, subscription: SubscriptionEntry, record: Unsubscribed) -> None:
        """Check that a connection that was open to the end brought everything."""
        listening = self._listening.pop(subscription.number, None)
        if (
            listening is None
            or record.reason != Closing.FINISHED
            or subscription.principal.name in self._revoked
        ):
            return
        place = (subscription.plan.stream, subscription.scope)
        for token, write in self._writes.get(place, {}).items():
            if write.acknowledged == _NEVER or write.invoked <= subscription.time:
                continue
            self.findings.looked(Anomaly.LOST_DELIVERY)
            if token not in listening.seen:
                self._report(
                    write.scope,
                    subscription.plan.channel,
                    f"an acknowledged write never came on a connection to {subscription.scope}",
                    token=token,
                    writer=write.operation,
                    subscription=subscription.number,
                )

    def ended(self) -> None:
        """Judge every owner's last look."""
        for place, read in self._final.items():
            writes = self._writes.get(place, {})
            self._judge_presence(writes, read)
            self._judge_order(writes, read)

    def _judge_presence(self, writes: dict[str, _Write], read: _FinalRead) -> None:
        counts = Counter(token for tokens, _ in read.entries for token in set(tokens))
        for token, write in writes.items():
            due = _NEVER < write.acknowledged < read.operation.time
            self.findings.looked(Anomaly.LOST_DELIVERY, int(due))
            if due and not counts[token]:
                self._miss(read, token, write, "an acknowledged write is missing")
            elif counts[token] > 1:
                self._miss(read, token, write, f"a write is there {counts[token]} times")

    def _judge_order(self, writes: dict[str, _Write], read: _FinalRead) -> None:
        """Compare each write with the latest-sent one before it: linear, and enough."""
        latest: _Write | None = None
        last_sequence: int | None = None
        for tokens, sequence in read.entries:
            if sequence is not None:
                if last_sequence is not None and sequence <= last_sequence:
                    detail = f"entry {sequence} stands after entry {last_sequence}"
                    operation = read.operation
                    channel = operation.plan.channel
                    self._report(operation.scope, channel, detail, reader=operation.number)
                last_sequence = sequence
            for token in tokens:
                write = writes.get(token)
                if write is None or write.scope != read.operation.scope:
                    continue
                if latest is not None and _NEVER < write.acknowledged < latest.invoked:
                    detail = f"it stands after operation {latest.operation}, which was sent later"
                    self._miss(read, token, write, detail)
                if latest is None or write.invoked > latest.invoked:
                    latest = write

    def _miss(self, read: _FinalRead, token: str, write: _Write, detail: str) -> None:
        operation = read.operation
        self._report(
            write.scope,
            operation.plan.channel,
            detail,
            token=token,
            writer=write.operation,
            reader=operation.number,
        )

    def _report(
        self,
        scope: Scope,
        channel: Channel,
        detail: str,
        *,
        token: str = "",
        writer: int | None = None,
        reader: int | None = None,
        subscription: int | None = None,
    ) -> None:
        self.findings.add(
            Finding(
                self.name,
                Anomaly.LOST_DELIVERY,
                channel,
                detail,
                owner=scope,
                observer=scope,
                token=token,
                writer=writer,
                reader=reader,
                subscription=subscription,
            )
        )


def _places(operation: OperationEntry) -> list[_Place]:
    """Give where a write is due: its streams, in its own scope and in its user's."""
    levels = range(operation.scope.level, Level.TENANT, -1)
    return [
        (stream, operation.scope.at(Level(level)))
        for stream in operation.plan.delivers_to
        for level in levels
    ]
