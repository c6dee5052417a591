"""What can go wrong with datastores.

DatastoreError
├── ServerProgramsError    the wheel's programs are missing, or their copy cannot be trusted
├── PortsExhaustedError    every port that was tried had been taken by a stranger meanwhile
├── PreparedClusterError   an archive that is no cluster of ours, or of another server's version
├── MigrationError         a service's migration program failed while its database was prepared
├── AdministrationError    the superuser's statement failed
├── AclRuleError           an ACL rule that grants more than an exact list of commands
└── ExternalServerError    a server that somebody else runs, …
    ├── ServerAddressError     … whose variable is missing, or says something else than where it is
    ├── ServerUnreachableError … which does not answer
    ├── ServerRefusedError     … which does not let us in, or not do what we need
    ├── ServerUnsuitableError  … which is too old, or lacks something
    ├── NotOursError           … which is not for us to stop or to look into
    └── LeftOverError          … on which something of a run could not be removed
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


class ExternalServerError(DatastoreError):
    """Something about a server that somebody else runs. No message holds a password."""


class ServerAddressError(ExternalServerError):
    """A variable that names a server is missing, or malformed."""

    def __init__(self, variable: str, expected: str) -> None:
        super().__init__(variable, expected)
        self.variable = variable
        self.expected = expected

    def __str__(self) -> str:
        return f"{self.variable}: expected {self.expected}"


class _ServerError(ExternalServerError):
    """What was expected of a server, what came, and what to do."""

    def __init__(self, server: str, *, expected: str, came: str, remedy: str) -> None:
        super().__init__(server, expected, came, remedy)
        self.server = server
        self.expected = expected
        self.came = came
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.server}: expected {self.expected}, got {self.came}: {self.remedy}"


class ServerUnreachableError(_ServerError):
    """Nothing answers there within the limit."""


class ServerRefusedError(_ServerError):
    """The password is wrong, or the user may not do what a run needs."""


class ServerUnsuitableError(_ServerError):
    """The server is too old, read-only, or lacks an extension."""


class NotOursError(ExternalServerError):
    """A test would stop, kill or read the log of a server that somebody else runs."""

    def __init__(self, server: str) -> None:
        super().__init__(server)
        self.server = server

    def __str__(self) -> str:
        return f"{self.server} is run by somebody else: whoever must own it takes an embedded one"


class LeftOverError(ExternalServerError):
    """Something of a run is still on a server."""

    def __init__(self, server: str, run: str, what: str) -> None:
        super().__init__(server, run, what)
        self.server = server
        self.run = run
        self.what = what

    def __str__(self) -> str:
        return (
            f"{self.server} still has {self.what} of run {self.run}: the next run tries again,"
            " and what depends on somebody's own things must be dropped by hand"
        )
