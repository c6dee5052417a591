"""What comes back over the wire, and what can go wrong instead.

ClientError
├── Refused       the system said no, in its own words: status, code, message, body, headers
├── Unexpected    it answered something that the contract does not know
└── Unanswered    no whole answer came within the limit: what was asked may have happened
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

# After these nobody can say whether the operation took effect.
_INDEFINITE_CODES: Final = frozenset({"DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN", "CANCELLED"})


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it came: `status` is HTTP's number, gRPC's name or a frame's type, as text."""

    status: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class ClientError(Exception):
    """An operation did not give its result."""


class Refused(ClientError):
    """The system refused, by a typed error.

    `code` is a gRPC status name on every channel; `answer` holds status, body and headers.
    """

    def __init__(self, code: str, message: str, answer: Answer) -> None:
        super().__init__(code, message, answer.status)
        self.code = code
        self.message = message
        self.answer = answer

    def __str__(self) -> str:
        return f"refused with {self.code} ({self.answer.status}): {self.message}"

    @property
    def definite(self) -> bool:
        """Whether nothing of what was asked can have happened."""
        return self.code not in _INDEFINITE_CODES


class Unexpected(ClientError):
    """The answer is none that the contract knows."""

    def __init__(self, expected: str, answer: Answer) -> None:
        super().__init__(expected, answer.status)
        self.expected = expected
        self.answer = answer

    def __str__(self) -> str:
        body = f"{self.answer.body!r:.200}"
        return f"expected {self.expected}, got status {self.answer.status} with {body}"


class Unanswered(ClientError):
    """No whole answer came: the connection failed, or the limit passed."""
