"""What the oracles found, and how often they looked."""

from collections import Counter
from typing import NamedTuple

from integration.audit.scopes import Scope
from integration.audit.vocabulary import Anomaly, Channel, Consequence


class Finding(NamedTuple):
    """One sight of an anomaly."""

    oracle: str
    anomaly: Anomaly
    channel: Channel
    detail: str
    """A sentence that says what was expected and what came."""
    owner: Scope
    """Whose thing it is."""
    observer: Scope
    """Whose view it appeared in, or who missed it."""
    token: str = ""
    """The canary, or the identifier, that tells."""
    writer: int | None = None
    """The operation that wrote, or caused, what was seen."""
    reader: int | None = None
    """The operation in whose answer it was seen."""
    subscription: int | None = None
    """The standing connection on which it was seen."""
    source: str = ""
    """The hop: where exactly it was seen."""
    time: int = 0
    excerpt: str = ""
    """The bytes around the token."""
    loss: bool = False
    """Set where the anomaly's name alone would say leak."""

    @property
    def consequence(self) -> Consequence:
        """What it means for its victim."""
        return Consequence.LOSS if self.loss else self.anomaly.consequence


RETAINED = 5
"""Findings kept whole for each anomaly and channel; the others are counted."""


class FindingLog:
    """All findings, counted; the first few of each sort whole, so that memory stays bounded."""

    def __init__(self) -> None:
        """Begin with none, and nothing looked at."""
        self.retained: list[Finding] = []
        self.counts: Counter[Anomaly] = Counter()
        self.leaks: Counter[Channel] = Counter()
        self.consequences: Counter[Consequence] = Counter()
        self._checks: Counter[Anomaly] = Counter()
        self._kept: Counter[tuple[Anomaly, Channel]] = Counter()

    def add(self, finding: Finding) -> None:
        """Count a finding, and keep it when it is among the first of its sort."""
        self.counts[finding.anomaly] += 1
        self.consequences[finding.consequence] += 1
        if finding.consequence is Consequence.LEAK:
            self.leaks[finding.channel] += 1
        sort = (finding.anomaly, finding.channel)
        if self._kept[sort] < RETAINED:
            self._kept[sort] += 1
            self.retained.append(finding)

    def looked(self, anomaly: Anomaly, times: int = 1) -> None:
        """Count that an oracle looked whether an anomaly is there."""
        if times:
            self._checks[anomaly] += times

    def checks(self, anomaly: Anomaly) -> int | None:
        """Tell how often was looked; `None`, never 0, where nothing looked."""
        return self._checks.get(anomaly)


EXCERPT_MARGIN = 60


def excerpt(text: str, token: str) -> str:
    """Give the token with what stands around it, for people."""
    start = text.lower().find(token.lower())
    if start < 0:
        return text[: 2 * EXCERPT_MARGIN]
    begin, end = max(0, start - EXCERPT_MARGIN), start + len(token) + EXCERPT_MARGIN
    return ("…" if begin else "") + text[begin:end] + ("…" if end < len(text) else "")
