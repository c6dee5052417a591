"""What every oracle is: something that is shown a history once, in order, and reports findings."""

from integration.audit.findings import FindingLog
from integration.audit.ledger import Ledger, OperationEntry, Sighting, SubscriptionEntry
from integration.audit.records import Completed, Unsubscribed


class Oracle:
    """Sees every event of a history once. A subclass overrides the events that it cares about.

    An oracle keeps no clock, reads no file, and needs memory for operations at most, so that it
    can be run again over any history.
    """

    name = "oracle"

    def __init__(self, ledger: Ledger, findings: FindingLog) -> None:
        """Read what is known from the ledger, and report into the log."""
        self.ledger = ledger
        self.findings = findings

    def invoked(self, operation: OperationEntry) -> None:
        """Take notice of an operation that is being sent."""

    def completed(self, operation: OperationEntry, completed: Completed) -> None:
        """Take notice of an operation's end, after what it showed was sighted."""

    def sighted(self, sighting: Sighting) -> None:
        """Take notice of one observation, wherever it was made."""

    def heard(self, sighting: Sighting, subscription: SubscriptionEntry) -> None:
        """Take notice of one observation that a standing connection brought."""

    def subscribed(self, subscription: SubscriptionEntry) -> None:
        """Take notice of a standing connection."""

    def unsubscribed(self, subscription: SubscriptionEntry, record: Unsubscribed) -> None:
        """Take notice of a connection's end."""

    def ended(self) -> None:
        """Judge what can only be judged when everything was seen."""
