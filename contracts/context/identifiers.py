"""Typed identifiers: opaque names of 1 to 64 bytes of UTF-8, refused at creation when they are not.

They are strings for datastores and encoders, but a `ThreadId` is no `UserId` to the type checker,
nor to `UserExecutionContext`. Two identifiers are equal when their bytes are: nothing is folded.
"""

from __future__ import annotations

import unicodedata
from typing import ClassVar, Self, TypeVar

from contracts.context.errors import InvalidIdentifier

MAXIMUM_IDENTIFIER_BYTES = 64

# What a serialised absence leaves behind: such a name would make all who lack one share it.
_ABSENCES = frozenset({"none", "null", "undefined", "nil", "nan"})

# Control characters, surrogates, and the two separators that end a line.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})


def _reason_to_refuse(value: object) -> str | None:
    if not isinstance(value, str):
        return f"expected a string, got {type(value).__name__}"
    if not value.strip():
        return "expected at least one visible character"
    if any(unicodedata.category(character) in _REFUSED_CATEGORIES for character in value):
        return "expected no control characters, line separators or surrogates"
    if (size := len(value.encode())) > MAXIMUM_IDENTIFIER_BYTES:
        return f"expected at most {MAXIMUM_IDENTIFIER_BYTES} bytes of UTF-8, got {size}"
    if value.casefold() in _ABSENCES:
        return "expected an identifier, got the spelling of an absent value"
    return None


class Identifier(str):
    """An opaque name; use one of its subclasses."""

    __slots__ = ()
    field: ClassVar[str] = "identifier"

    def __new__(cls, value: str) -> Self:
        """Refuses what is no identifier, by `InvalidIdentifier`."""
        if (reason := _reason_to_refuse(value)) is not None:
            raise InvalidIdentifier(cls.field, value, reason)
        return super().__new__(cls, value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class TenantId(Identifier):
    """A tenant: the outermost scope."""

    __slots__ = ()
    field = "tenant_id"


class UserId(Identifier):
    """A user: issued by the server, unique over tenants, belongs to one tenant."""

    __slots__ = ()
    field = "user_id"


class ThreadId(Identifier):
    """One conversation; belongs to one user."""

    __slots__ = ()
    field = "thread_id"


class RunId(Identifier):
    """One execution of the agent in a thread."""

    __slots__ = ()
    field = "run_id"


class RequestId(Identifier):
    """One call."""

    __slots__ = ()
    field = "request_id"


class ClientLabel(Identifier):
    """A caller's own label for its connection: shown, never used to route."""

    __slots__ = ()
    field = "websocket_client_id"


class SessionId(Identifier):
    """One log-in: what a log-out ends."""

    __slots__ = ()
    field = "session_id"


I = TypeVar("I", bound=Identifier)  # noqa: E741 -- the conventional letter of a type variable here


def require(kind: type[I], value: object) -> I:
    """The value itself, when it is an identifier of just this kind.

    Raises:
        InvalidIdentifier: it is a plain string or another kind of identifier.
    """
    if type(value) is not kind:
        raise InvalidIdentifier(
            kind.field, value, f"expected a {kind.__name__}, got {type(value).__name__}"
        )
    return value


def optional(kind: type[I], value: object) -> I | None:
    """Like `require`, but lets `None` through."""
    return None if value is None else require(kind, value)
