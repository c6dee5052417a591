"""A finding's way through the system, as far as observations tell: hop after hop, with times.

Whatever carries the trace of one of a witness's operations, or the token itself, is a hop. What
rests is read back at the end of an audit: when it was written is not known, and not stated.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from integration.audit.adapter import Observation
from integration.audit.findings import Finding
from integration.audit.ledger import Ledger
from integration.audit.records import Completed, Observed, Record
from integration.audit.system import OperationKind
from integration.audit.vocabulary import RECORDED, STORED, Channel

_PASSED_LIMIT = 12


@dataclass(frozen=True, slots=True)
class Hop:
    """One step of the way."""

    role: str
    """`wrote`, `passed`, `acknowledged`, `asked` or `saw`."""
    channel: str
    place: str
    """The operation, the service, the table: what the adapter calls the source."""
    who: str
    """Whose step it was; empty where that is not known."""
    milliseconds: float | None
    """Since the start; `None` for what was found at rest."""
    times: int = 1
    """How many observations there were of it."""


class Trails:
    """Collects, in one pass over a history, what belongs to some findings."""

    def __init__(self, findings: Iterable[Finding], ledger: Ledger) -> None:
        """Prepare to look for the tokens and the traces of these findings."""
        self._ledger = ledger
        self._completed: dict[int, Completed] = {}
        self._passed: dict[str, dict[tuple[str, str], Hop]] = {}
        self._by_trace: dict[str, set[str]] = {}
        tokens = set()
        for finding in findings:
            if self._tells_the_way(finding):
                tokens.add(finding.token.lower())
            for number in (finding.writer, finding.reader):
                if number in ledger.operations:
                    trace = ledger.operations[number].trace
                    self._passed.setdefault(trace, {})
        self._find = re.compile("|".join(map(re.escape, sorted(tokens)))) if tokens else None

    def feed(self, record: Record) -> None:
        """Take one record."""
        if isinstance(record, Completed):
            self._completed[record.number] = record
        elif isinstance(record, Observed):
            self._observed(record)

    def _observed(self, record: Observed) -> None:
        observation = record.observation
        keys = set(self._find.findall(str(observation.data).lower())) if self._find else set()
        trace = (observation.attribution or {}).get("trace", "")
        if trace in self._passed:
            keys.add(trace)
        for key in keys:
            hop = self._hop(record, observation)
            hops = self._passed.setdefault(key, {})
            known = hops.get((hop.channel, hop.place))
            if known is not None:
                hops[hop.channel, hop.place] = replace(known, times=known.times + 1)
            elif len(hops) < _PASSED_LIMIT:
                hops[hop.channel, hop.place] = hop

    def _hop(self, record: Observed, observation: Observation) -> Hop:
        channel, who, place = observation.channel, "", observation.source
        if record.subscription in self._ledger.subscriptions:
            subscription = self._ledger.subscriptions[record.subscription]
            who = subscription.principal.name
            place = place or f"{subscription.plan.name} connection {subscription.number}"
        at_rest = channel in STORED or channel in RECORDED
        time = None if at_rest else round(record.time / 1e6, 1)
        return Hop("passed", channel.value, place, who, time)

    def of(self, finding: Finding, place: str, observer: str) -> tuple[Hop, ...]:
        """Give the way of one finding, which was seen at a place by somebody."""
        wrote = self._asked(finding.writer, "wrote")
        asked = self._asked(finding.reader, "asked") if finding.reader != finding.writer else []
        seen = finding.time or (finding.reader is not None and self._end(finding.reader)) or None
        milliseconds = None if seen is None else round(seen / 1e6, 1)
        saw = Hop("saw", finding.channel.value, place, observer, milliseconds)
        keys = self._traces(finding)
        if self._tells_the_way(finding):
            keys.insert(0, finding.token.lower())
        passed: dict[tuple[str, str], Hop] = {}
        for key in keys:
            passed |= self._passed.get(key, {})
        passed.pop((saw.channel, saw.place), None)
        return tuple(_in_order(wrote, list(passed.values()), asked, saw))

    def _tells_the_way(self, finding: Finding) -> bool:
        """Whether the token is of one write. A thread's identifier is wherever the thread is."""
        writer = self._ledger.operations.get(-1 if finding.writer is None else finding.writer)
        one_write = writer is not None and writer.plan.kind is OperationKind.WRITE
        return bool(finding.token) and one_write

    def _traces(self, finding: Finding) -> list[str]:
        operations: Mapping[int, object] = self._ledger.operations
        numbers = [n for n in (finding.writer, finding.reader) if n in operations]
        return [self._ledger.operations[n].trace for n in numbers if n is not None]

    def _end(self, number: int) -> int | None:
        completed = self._completed.get(number)
        return None if completed is None else completed.time

    def _asked(self, number: int | None, role: str) -> list[Hop]:
        entry = None if number is None else self._ledger.operations.get(number)
        if entry is None:
            return []
        channel, who = entry.plan.channel.value, entry.principal.name
        place = f"{entry.plan.name} on {entry.scope}"
        hops = [Hop(role, channel, place, who, round(entry.time / 1e6, 1))]
        completed = self._completed.get(entry.number)
        if role == "wrote" and completed is not None:
            answer = f"{completed.result.value} {completed.status}"
            hops.append(Hop("acknowledged", channel, answer, who, round(completed.time / 1e6, 1)))
        return hops


def _in_order(
    wrote: Sequence[Hop], passed: Sequence[Hop], asked: Sequence[Hop], saw: Hop
) -> list[Hop]:
    """Give what has a time in its order, with what was found at rest before who asked and saw."""
    timed = [*wrote, *(hop for hop in passed if hop.milliseconds is not None)]
    timed.sort(key=lambda hop: hop.milliseconds or 0.0)
    places = list(Channel)
    resting = [hop for hop in passed if hop.milliseconds is None]
    resting.sort(key=lambda hop: (places.index(Channel(hop.channel)), hop.place))
    return [*timed, *resting, *asked, saw]
