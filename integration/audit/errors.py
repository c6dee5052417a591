"""What can be wrong with an audit's input.

AuditError
├── PlanError: a number of the plan is out of its range
├── IdentifierError: an identifier cannot serve as a canary
├── SubscriptionRefusedError: raised by adapters when the system turns a subscriber away
├── ReportDirectoryError: a report cannot be written there
├── JsonFileError: the file of `--json` cannot be written there
└── HistoryError
    ├── NotAHistoryError: the file does not begin with a history's header
    ├── UnsupportedVersionError: a later version of the format
    └── CorruptHistoryError: a line is not what the format says
"""

from pathlib import Path


class AuditError(Exception):
    """The base of every error that this package raises on purpose."""


class PlanError(AuditError):
    """A number of the plan is out of its range."""

    def __init__(self, field: str, value: object, expected: str) -> None:
        """Keep which field, what came, and what was expected."""
        super().__init__(field, value, expected)
        self.field = field
        self.value = value
        self.expected = expected

    def __str__(self) -> str:
        """Name the field, the expectation and the value."""
        return f"{self.field} must be {self.expected}, but is {self.value!r}"


class IdentifierError(AuditError):
    """An identifier is too short to be told from chance text."""

    def __init__(self, kind: str, value: str, minimum: int) -> None:
        """Keep the kind, the value and the least length in characters."""
        super().__init__(kind, value, minimum)
        self.kind = kind
        self.value = value
        self.minimum = minimum

    def __str__(self) -> str:
        """Say what to do about it."""
        return (
            f"{self.kind} identifier {self.value!r} has under {self.minimum} characters: it would "
            "be found by chance; do not issue it as a canary"
        )


class SubscriptionRefusedError(AuditError):
    """The system turned a subscriber away; `status` is its own word for it."""

    def __init__(self, status: str) -> None:
        """Keep the status, such as a close code."""
        super().__init__(status)
        self.status = status


class ReportDirectoryError(AuditError):
    """A report cannot be written into a directory."""

    def __init__(self, directory: Path, reason: str) -> None:
        """Keep the directory and the reason."""
        super().__init__(directory, reason)
        self.directory = directory
        self.reason = reason

    def __str__(self) -> str:
        """Name the directory and the reason."""
        return f"cannot write a report to {self.directory}: {self.reason}"


class JsonFileError(AuditError):
    """The file of `--json` cannot be written."""

    def __init__(self, path: str, reason: str) -> None:
        """Keep the path as it was typed, and the reason."""
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        """Name the option, the path and the reason."""
        return f"--json {self.path}: {self.reason}"


class HistoryError(AuditError):
    """A history file cannot be used."""

    def __init__(self, path: Path, reason: str) -> None:
        """Keep the file and the reason."""
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        """Name the file and the reason."""
        return f"{self.path}: {self.reason}"


class NotAHistoryError(HistoryError):
    """The file does not begin with a history's header."""


class UnsupportedVersionError(HistoryError):
    """The file was written by a later version of the format."""

    def __init__(self, path: Path, version: object, supported: int) -> None:
        """Keep the version that came and the newest that can be read."""
        super().__init__(path, f"history version {version!r}; this reads up to {supported}")
        self.version = version
        self.supported = supported


class CorruptHistoryError(HistoryError):
    """A line is not what the format says."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        """Keep the line's number (from 1) and the reason."""
        super().__init__(path, f"line {line}: {reason}")
        self.line = line
