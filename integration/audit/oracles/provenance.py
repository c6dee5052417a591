"""Provenance: no observation holds a canary that its scope and classes do not allow."""

from collections import Counter
from dataclasses import dataclass, field

from integration.audit.encodings import views
from integration.audit.findings import Finding, FindingLog, excerpt
from integration.audit.ledger import Ledger, Sighting
from integration.audit.oracles.oracle import Oracle
from integration.audit.scopes import Level, Scope
from integration.audit.vocabulary import (
    PUSHED,
    RECORDED,
    STORED,
    Anomaly,
    Channel,
    Expectation,
    ObservationClass,
)


@dataclass(slots=True)
class ChannelCoverage:
    """What a channel has shown."""

    observations: int = 0
    content: int = 0
    """Content canaries that were where they belong."""
    identifiers: int = 0
    """Identifier canaries that were where they belong."""
    viewers: dict[Scope, int] = field(default_factory=dict)
    """Observations by the scope whose view they were."""

    def at(self, *levels: Level) -> int:
        """Count the observations that were a view of one of these levels."""
        return sum(times for scope, times in self.viewers.items() if scope.level in levels)


class Provenance(Oracle):
    """Looks for every known canary in every observation."""

    name = "provenance"

    def __init__(self, ledger: Ledger, findings: FindingLog) -> None:
        """Begin with nothing covered."""
        super().__init__(ledger, findings)
        self.coverage: dict[Channel, ChannelCoverage] = {
            channel: ChannelCoverage() for channel in Channel
        }
        declared = {plan.channel: plan.expected for plan in ledger.description.channels}
        self._find_content = ledger.mint.find
        self._find_identifiers = ledger.identifiers.find
        self._content_free = {
            channel
            for channel in Channel
            if declared.get(channel, channel.expectation) is Expectation.CONTENT_FREE
        }

    def sighted(self, sighting: Sighting) -> None:
        """Scan one observation, in every encoding."""
        coverage = self.coverage[sighting.observation.channel]
        coverage.observations += 1
        coverage.viewers[sighting.scope] = coverage.viewers.get(sighting.scope, 0) + 1
        texts = views(sighting.text)
        tokens = self._find_content(texts[0])
        values = self._find_identifiers(texts[0])
        for text in texts[1:]:
            tokens = sorted({*tokens, *self._find_content(text)})
            values = sorted({*values, *self._find_identifiers(text)})
        if tokens:
            self._content(sighting, coverage, tokens)
        if values:
            self._identifiers(sighting, coverage, values)

    def _content(self, sighting: Sighting, coverage: ChannelCoverage, tokens: list[str]) -> None:
        content_free = sighting.observation.channel in self._content_free
        scopes = self.ledger.scopes
        for token in tokens:
            number = self.ledger.mint.owner_of(token)
            owner = scopes[number] if number < len(scopes) else None
            if owner is None:
                continue
            if not content_free and sighting.permit.allows(ObservationClass.CONTENT, owner):
                coverage.content += 1
                continue
            canary = self.ledger.mint.read(token)
            if canary is not None:
                self._report(sighting, token, owner, canary.operation, "content")

    def _identifiers(
        self, sighting: Sighting, coverage: ChannelCoverage, values: list[str]
    ) -> None:
        for value in values:
            identifier = self.ledger.identifiers.get(value)
            if identifier is None or value in sighting.mentions:
                continue
            if sighting.permit.allows(ObservationClass.IDENTIFIER, identifier.owner):
                coverage.identifiers += 1
            elif any(self.ledger.identifiers.confirmed(value, t) for t in views(sighting.text)):
                what = f"{identifier.kind} identifier"
                self._report(sighting, value, identifier.owner, identifier.operation, what)

    def _report(
        self, sighting: Sighting, token: str, owner: Scope, writer: int | None, what: str
    ) -> None:
        observation = sighting.observation
        own = sighting.permit.allows(ObservationClass.CONTENT, owner)
        if own:
            detail = f"{what} of {owner} stands in {observation.channel}, which must hold none"
        else:
            detail = f"{what} of {owner} appears in the view of {sighting.scope}"
        self.findings.add(
            Finding(
                self.name,
                Anomaly.CONTEXT_BLEED
                if own
                else anomaly(observation.channel, sighting.scope, owner),
                observation.channel,
                detail,
                owner,
                sighting.scope,
                token,
                writer,
                None if sighting.operation is None else sighting.operation.number,
                None if sighting.subscription is None else sighting.subscription.number,
                observation.source,
                sighting.time,
                excerpt(sighting.text, token),
            )
        )

    def ended(self) -> None:
        """Count what was looked at, for the anomalies that it could have shown."""
        scopes = self.ledger.scopes
        tenants = {scope.tenant for scope in scopes if scope.level is Level.TENANT}
        users = Counter(scope.tenant for scope in scopes if scope.level is Level.USER)
        threads = Counter(scope.at(Level.USER) for scope in scopes if scope.level is Level.THREAD)
        several_tenants = len(tenants) > 1
        several_users = max(users.values(), default=0) > 1
        several_threads = max(threads.values(), default=0) > 1
        for channel, coverage in self.coverage.items():
            scoped = coverage.observations - coverage.at(Level.ROOT)
            if channel in PUSHED:
                self.findings.looked(Anomaly.MISROUTE, scoped)
            elif channel in STORED:
                self.findings.looked(Anomaly.WRITE_CAPTURE, scoped)
            elif channel in RECORDED:
                self.findings.looked(Anomaly.CONTEXT_BLEED, scoped)
            else:
                inner = coverage.at(Level.USER, Level.THREAD)
                self.findings.looked(Anomaly.CROSS_TENANT_READ, several_tenants * scoped)
                self.findings.looked(Anomaly.CROSS_USER_READ, several_users * inner)
                self.findings.looked(
                    Anomaly.CROSS_THREAD_READ, several_threads * coverage.at(Level.THREAD)
                )


def anomaly(channel: Channel, viewer: Scope, owner: Scope) -> Anomaly:
    """Name what it is that something of `owner` stands in `viewer`'s view on a channel."""
    if channel in PUSHED:
        return Anomaly.MISROUTE
    if channel in STORED:
        return Anomaly.WRITE_CAPTURE
    if channel in RECORDED:
        return Anomaly.CONTEXT_BLEED
    if viewer.tenant != owner.tenant:
        return Anomaly.CROSS_TENANT_READ
    if viewer.user != owner.user:
        return Anomaly.CROSS_USER_READ
    return Anomaly.CROSS_THREAD_READ
