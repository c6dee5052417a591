"""Attribution: whatever carries an operation's trace carries that operation's context."""

from itertools import pairwise

from integration.audit.findings import Finding
from integration.audit.identifiers import Identifier
from integration.audit.ledger import OperationEntry, Sighting
from integration.audit.oracles.oracle import Oracle
from integration.audit.scopes import Level, Scope
from integration.audit.vocabulary import PUSHED, STORED, Anomaly, Channel


class Attribution(Oracle):
    """Compares what observations state about themselves with who really acted."""

    name = "attribution"

    def sighted(self, sighting: Sighting) -> None:
        """Check that a statement agrees with itself, and with the operation of its trace."""
        attribution = sighting.observation.attribution
        if not attribution:
            return
        stated = self.ledger.attributed(attribution, sighting.mentions)
        cause = sighting.cause if "trace" in attribution else None
        if not stated or (cause is None and len(stated) == 1):
            return
        self.findings.looked(_anomaly(sighting.observation.channel))
        contradiction = _contradiction(stated)
        if contradiction is not None:
            first, second = contradiction
            self._report(
                sighting,
                second,
                first.owner,
                f"it names {first.kind} of {first.owner} and {second.kind} of {second.owner}",
            )
        elif cause is not None:
            for identifier in stated:
                if not _acted_for(cause, identifier.owner):
                    detail = (
                        f"the trace of {cause.plan.name} by {cause.principal.scope} carries the "
                        f"{identifier.kind} of {identifier.owner}"
                    )
                    self._report(sighting, identifier, cause.principal.scope, detail)
                    return

    def _report(
        self, sighting: Sighting, identifier: Identifier, expected: Scope, detail: str
    ) -> None:
        observation = sighting.observation
        cause = sighting.cause
        self.findings.add(
            Finding(
                self.name,
                _anomaly(observation.channel),
                observation.channel,
                detail,
                owner=expected,
                observer=identifier.owner,
                token=identifier.value,
                writer=None if cause is None else cause.number,
                reader=identifier.operation,
                subscription=None
                if sighting.subscription is None
                else sighting.subscription.number,
                source=observation.source,
                time=sighting.time,
                excerpt=sighting.text[:200],
            )
        )


def _contradiction(stated: list[Identifier]) -> tuple[Identifier, Identifier] | None:
    """Give the first two identifiers that cannot be one context's."""
    for first, second in pairwise(stated):
        related = first.owner.contains(second.owner) or second.owner.contains(first.owner)
        if not related:
            return first, second
    return None


def _acted_for(cause: OperationEntry, owner: Scope) -> bool:
    """Tell whether an operation may rightly be recorded under something of `owner`."""
    if owner.level <= Level.USER:
        return owner.contains(cause.principal.scope)
    if cause.own and cause.scope.level is Level.THREAD:
        return cause.scope == owner
    return cause.principal.authority.contains(owner)


def _anomaly(channel: Channel) -> Anomaly:
    if channel in STORED:
        return Anomaly.WRITE_CAPTURE
    return Anomaly.MISROUTE if channel in PUSHED else Anomaly.CONTEXT_BLEED
