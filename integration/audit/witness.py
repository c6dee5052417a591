"""Witnesses: for each finding, the fewest recorded operations that show it, and the hop.

Built from the history alone. Each one names who wrote, who saw, and on which channel.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from integration.audit.findings import Finding
from integration.audit.hops import Hop, Trails
from integration.audit.ledger import Ledger
from integration.audit.records import Completed, Record

WITNESSES_LIMIT = 50
"""Witnesses in one report; what is beyond is counted in the tables."""


@dataclass(frozen=True, slots=True)
class WitnessOperation:
    """One operation of a witness."""

    operation: int
    name: str
    role: str
    """`writer` or `observer`."""
    principal: str
    scope: str
    """What it addressed."""
    channel: str
    trace: str
    result: str
    status: str
    invoked_milliseconds: float
    completed_milliseconds: float | None


@dataclass(frozen=True, slots=True)
class Witness:
    """What shows one finding."""

    anomaly: str
    consequence: str
    oracle: str
    channel: str
    hop: str
    """Where it was seen: a table, a log, an answer."""
    detail: str
    token: str
    owner: str
    writer: str
    """Who wrote."""
    observer: str
    """Who saw, or missed, it."""
    operations: tuple[WitnessOperation, ...]
    excerpt: str
    hops: tuple[Hop, ...] = ()
    """The way from who wrote to where it was seen."""

    def to_json(self) -> dict[str, object]:
        """Give it as what JSON can hold."""
        return asdict(self)


def witnesses(
    findings: Iterable[Finding], ledger: Ledger, records: Iterable[Record]
) -> list[Witness]:
    """Build the witnesses of findings, with one more pass over the history for the outcomes."""
    chosen = list(findings)[:WITNESSES_LIMIT]
    wanted = {number for each in chosen for number in (each.writer, each.reader)} - {None}
    if not chosen:
        return []
    completions: dict[int, Completed] = {}
    trails = Trails(chosen, ledger)
    for record in records:
        if not isinstance(record, Completed):
            trails.feed(record)
        elif record.number in wanted:
            completions[record.number] = record
            trails.feed(record)
    return [_witness(finding, ledger, completions, trails) for finding in chosen]


def _witness(
    finding: Finding, ledger: Ledger, completions: dict[int, Completed], trails: Trails
) -> Witness:
    parts = [
        _operation(number, role, ledger, completions)
        for number, role in _cast(finding)
        if number in ledger.operations
    ]
    parts.sort(key=lambda part: part.invoked_milliseconds)
    by_role = {part.role: part.principal for part in parts}
    observer = by_role.get("observer", str(finding.observer))
    hop = finding.source
    if finding.subscription is not None:
        subscription = ledger.subscriptions[finding.subscription]
        observer = subscription.principal.name
        hop = hop or f"{subscription.plan.name} connection {finding.subscription}"
    elif not hop and finding.reader in ledger.operations:
        hop = f"answer of {ledger.operations[finding.reader].plan.name}"
    return Witness(
        anomaly=finding.anomaly.value,
        consequence=finding.consequence.value,
        oracle=finding.oracle,
        channel=finding.channel.value,
        hop=hop,
        detail=finding.detail,
        token=finding.token,
        owner=str(finding.owner),
        writer=by_role.get("writer", str(finding.owner)),
        observer=observer,
        operations=tuple(parts),
        excerpt=finding.excerpt,
        hops=trails.of(finding, hop, observer),
    )


def _cast(finding: Finding) -> list[tuple[int, str]]:
    """Give the operations of a finding with their parts; one that has both is the writer."""
    cast = []
    if finding.writer is not None:
        cast.append((finding.writer, "writer"))
    if finding.reader is not None and finding.reader != finding.writer:
        cast.append((finding.reader, "observer"))
    return cast


def _operation(
    number: int, role: str, ledger: Ledger, completions: dict[int, Completed]
) -> WitnessOperation:
    entry = ledger.operations[number]
    completed = completions.get(number)
    return WitnessOperation(
        operation=number,
        name=entry.plan.name,
        role=role,
        principal=entry.principal.name,
        scope=str(entry.scope),
        channel=entry.plan.channel.value,
        trace=entry.trace,
        result="pending" if completed is None else completed.result.value,
        status="" if completed is None else completed.status,
        invoked_milliseconds=entry.time / 1e6,
        completed_milliseconds=None if completed is None else completed.time / 1e6,
    )
