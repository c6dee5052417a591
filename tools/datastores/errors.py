"""What can go wrong with datastores.

DatastoreError
├── ServerProgramsError    the wheel's programs are missing, or their copy cannot be trusted
├── PortsExhaustedError    every port that was tried had been taken by a stranger meanwhile
├── PreparedClusterError   an archive that is no cluster of ours, or of another server's version
├── MigrationError         a service's migration program failed while its database was prepared
├── AdministrationError    the superuser's statement failed
└── AclRuleError           an ACL rule that grants more than an exact list of commands
"""


class DatastoreError(Exception):
    """Root of everything that this room raises."""


class ServerProgramsError(DatastoreError):
    """The server's programs are not where the wheel should have put them, or not ours."""


class PortsExhaustedError(DatastoreError):
    """A server found its port taken, again and again."""


class PreparedClusterError(DatastoreError):
    """An archive is not a prepared cluster, or one of another version of the server."""


class AdministrationError(DatastoreError):
    """A statement of the superuser's failed; the cause is the driver's error."""


class AclRuleError(DatastoreError):
    """An ACL rule would grant a whole category, all keys, all channels, or a password."""

    def __init__(self, user: str, rule: str) -> None:
        super().__init__(user, rule)
        self.user = user
        self.rule = rule

    def __str__(self) -> str:
        return (
            f"ACL rule {self.rule!r} of user {self.user!r} is refused: grant single commands "
            "(+get, +client|setname), key patterns (~…, %R~…, %W~…, %RW~…) and channels (&…)"
        )


class MigrationError(DatastoreError):
    """A service's migration program ended with another code than 0, or not at all."""

    def __init__(self, service: str, reason: str) -> None:
        super().__init__(service, reason)
        self.service = service
        self.reason = reason

    def __str__(self) -> str:
        return f"the migration of service {self.service!r} failed: {self.reason}"
