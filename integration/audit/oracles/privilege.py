"""Privilege: nothing is done with more rights than whoever asked for it has.

Two looks at it. From outside: who lacks the role that an operation takes is not served. From
inside: wherever a record of an operation states the rights that it was done with, at the edge and
at every hop behind it, they are among those of the asker's role.
"""

from integration.audit.adapter import Result
from integration.audit.findings import Finding, FindingLog
from integration.audit.ledger import Ledger, OperationEntry, Sighting
from integration.audit.oracles.oracle import Oracle
from integration.audit.records import Completed
from integration.audit.vocabulary import Anomaly

SCOPES = "scopes"
"""The entry of an attribution that states rights."""


class Privilege(Oracle):
    """Compares what was done, and with which rights, with the role of who asked."""

    name = "privilege"

    def __init__(self, ledger: Ledger, findings: FindingLog) -> None:
        """Read what each role may do at most."""
        super().__init__(ledger, findings)
        self._grants = {role: frozenset(words) for role, words in ledger.description.grants.items()}

    def completed(self, operation: OperationEntry, completed: Completed) -> None:
        """Check that an operation of another role was refused."""
        role, due = operation.principal.role, operation.plan.role
        if role == due or completed.result is Result.UNKNOWN:
            return
        self.findings.looked(Anomaly.PRIVILEGE_ESCALATION)
        if completed.result is Result.OK:
            self.findings.add(
                Finding(
                    self.name,
                    Anomaly.PRIVILEGE_ESCALATION,
                    operation.plan.channel,
                    f"{operation.plan.name} takes the role {due}, and a {role} was served",
                    owner=operation.scope,
                    observer=operation.principal.scope,
                    reader=operation.number,
                    time=completed.time,
                )
            )

    def sighted(self, sighting: Sighting) -> None:
        """Check that the rights that a record states are those of the role, or fewer."""
        cause = sighting.cause
        stated = (sighting.observation.attribution or {}).get(SCOPES)
        if stated is None or cause is None or cause.principal.role not in self._grants:
            return
        self.findings.looked(Anomaly.PRIVILEGE_ESCALATION)
        beyond = sorted(set(stated.split()) - self._grants[cause.principal.role])
        if beyond:
            observation = sighting.observation
            self.findings.add(
                Finding(
                    self.name,
                    Anomaly.PRIVILEGE_ESCALATION,
                    observation.channel,
                    f"{cause.plan.name} by a {cause.principal.role} was done with "
                    f"{', '.join(beyond)}, which is beyond that role",
                    owner=cause.scope,
                    observer=cause.principal.scope,
                    token=beyond[0],
                    writer=cause.number,
                    source=observation.source,
                    time=sighting.time,
                    excerpt=sighting.text[:200],
                )
            )
