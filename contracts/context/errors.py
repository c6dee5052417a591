"""What can be wrong with a context.

```
ContextError
├── InvalidIdentifier      a name that is empty, too long, of the wrong type or not printable
├── ContextMissing         no context, or no credential, where one is required
├── ContextMalformed       it cannot be read, or its parts contradict each other
├── ContextOversized       more than the carrier's limit
├── ContextDuplicated      more than one where exactly one belongs
├── ContextExpired         no longer valid, or not yet
├── ContextWidened         it claims more than what it was derived from, or than its token
├── ScopeDenied            it lacks a scope that the operation asks for
├── DepthExceeded          too many calls lie behind it
└── SessionScopeConflict   a database session works for another context
```

The sentences are for logs and for programmers: they may quote a value, cut to 80 characters. What a
service answers on the wire quotes no value (`services.runtime.errors`).
"""

from __future__ import annotations

_QUOTED_CHARACTERS = 80


def quoted(value: object) -> str:
    """The value as an error message shows it: printable, at most 80 characters."""
    text = ascii(value)
    return text if len(text) <= _QUOTED_CHARACTERS else f"{text[:_QUOTED_CHARACTERS]}..."


class ContextError(Exception):
    """A context, or a part of it, is refused."""


class InvalidIdentifier(ContextError):
    """A name is refused: `field` and `value` say which, `reason` what was expected."""

    def __init__(self, field: str, value: object, reason: str) -> None:
        super().__init__(field, value, reason)
        self.field = field
        self.value = value
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.field} {quoted(self.value)} is refused: {self.reason}"


class _FieldError(ContextError):
    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"


class ContextMissing(_FieldError):
    """A required carrier or field is absent."""


class ContextMalformed(_FieldError):
    """A carrier or field cannot be read, or contradicts another."""


class ContextOversized(_FieldError):
    """A carrier or field is larger than its limit."""


class ContextDuplicated(_FieldError):
    """A carrier appears more than once."""


class ContextExpired(_FieldError):
    """The context is not valid at this time."""


class ContextWidened(_FieldError):
    """The context claims more than what it comes from."""


class ScopeDenied(_FieldError):
    """The context lacks the scope that an operation asks for."""


class DepthExceeded(_FieldError):
    """More calls lie behind the context than are allowed."""


class SessionScopeConflict(_FieldError):
    """A database session is bound to another scope than the one asked for."""
