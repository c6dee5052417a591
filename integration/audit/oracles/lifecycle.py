"""Lifecycle: nobody is served after a revocation was acknowledged, beyond the stated bound."""

from integration.audit.adapter import Result
from integration.audit.findings import Finding, FindingLog
from integration.audit.ledger import Ledger, OperationEntry, Sighting, SubscriptionEntry
from integration.audit.oracles.oracle import Oracle
from integration.audit.records import Closing, Completed, Unsubscribed
from integration.audit.system import OperationKind
from integration.audit.vocabulary import Anomaly

_NANOSECONDS = 1_000_000_000


class Lifecycle(Oracle):
    """Watches sessions that were logged out."""

    name = "lifecycle"

    def __init__(self, ledger: Ledger, findings: FindingLog) -> None:
        """Begin with every session valid."""
        super().__init__(ledger, findings)
        self._bound = int(ledger.description.revocation_bound_seconds * _NANOSECONDS)
        self._revocations: dict[str, tuple[int, int]] = {}
        self._served: set[int] = set()
        """Connections that have brought something after their session's end."""

    def completed(self, operation: OperationEntry, completed: Completed) -> None:
        """Take a revocation, or check that whoever was served still had the right to be."""
        principal = operation.principal.name
        revocation = self._revocations.get(principal)
        if revocation is not None and operation.time > revocation[1] + self._bound:
            self.findings.looked(Anomaly.STALE_PRINCIPAL)
            if completed.result is Result.OK:
                self._report(
                    operation,
                    f"{operation.plan.name} was served {self._late(revocation, operation.time)}",
                    revocation[0],
                    operation.time,
                )
        elif operation.plan.kind is OperationKind.REVOKE and completed.result is Result.OK:
            self._revocations.setdefault(principal, (operation.number, completed.time))

    def heard(self, sighting: Sighting, subscription: SubscriptionEntry) -> None:
        """Check that a connection brings nothing after its session's end."""
        revocation = self._revocations.get(subscription.principal.name)
        if revocation is not None and sighting.time > revocation[1] + self._bound:
            self._served.add(subscription.number)
            detail = f"an event came {self._late(revocation, sighting.time)}"
            self._report(subscription, detail, revocation[0], sighting.time)

    def unsubscribed(self, subscription: SubscriptionEntry, record: Unsubscribed) -> None:
        """Check that a connection does not outlive its session, even if it brings nothing.

        One that the audit itself closed before the bound had passed tells nothing.
        """
        revocation = self._revocations.get(subscription.principal.name)
        if revocation is None:
            return
        late = record.time > revocation[1] + self._bound
        if not late and record.reason != Closing.SERVER:
            return
        self.findings.looked(Anomaly.STALE_PRINCIPAL)
        if late and subscription.number not in self._served:
            detail = f"the connection was open {self._late(revocation, record.time)}"
            self._report(subscription, detail, revocation[0], record.time)

    def _late(self, revocation: tuple[int, int], time: int) -> str:
        seconds = (time - revocation[1]) / _NANOSECONDS
        bound = self._bound / _NANOSECONDS
        return f"{seconds:.2f} s after its session's revocation (bound: {bound:.2f} s)"

    def _report(
        self, served: OperationEntry | SubscriptionEntry, detail: str, writer: int, time: int
    ) -> None:
        on_connection = isinstance(served, SubscriptionEntry)
        self.findings.add(
            Finding(
                self.name,
                Anomaly.STALE_PRINCIPAL,
                served.plan.channel,
                f"{detail}: {served.principal.name}",
                owner=served.scope,
                observer=served.principal.scope,
                writer=writer,
                reader=None if on_connection else served.number,
                subscription=served.number if on_connection else None,
                time=time,
            )
        )
