"""What a service answers when it refuses or fails: one status, fixed words, nobody's value.

```
ServiceError
├── Unauthenticated     401  close 4401   no valid credential, or its session has ended
├── PermissionDenied    403  close 4403   the credential is valid and does not allow this
├── InvalidArgument     400  close 4400   the request itself is wrong, whoever sends it
├── NotFound            404  close 4404   not there, or another's: the two answers are equal
├── AlreadyExists       409  close 4409   a name is taken within the caller's own scope
├── ResourceExhausted   429  close 1013   too much at once; later it may work
│   └── TooLarge        413  close 1009   more bytes than the limit; later it will not work either
├── Unavailable         503  close 1013   something that the answer needs does not answer
├── DeadlineExceeded    504  close 1013   it took longer than the request's limit
├── Unimplemented       405  close 4400   the method does not exist here
└── Internal            500  close 1011   a defect of the service
```

Codes are gRPC's (grpc/doc/statuscodes.md), so that HTTP, WebSocket and gRPC say the same.
"""

from __future__ import annotations

import os
from typing import ClassVar, Final

# gRPC's core writes lines of its own to standard error, which are no JSON; what goes wrong reaches
# us as exceptions, too. It reads this when it is loaded, and whoever loads it loads this first.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc

from contracts.context import (
    ContextError,
    ContextExpired,
    ContextMissing,
    ContextWidened,
    InvalidIdentifier,
    ScopeDenied,
    SessionScopeConflict,
)


class ServiceError(Exception):
    """A refusal or failure, as the caller is told it. `message` is the service's own words."""

    default_code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    default_message: ClassVar[str] = "the service failed"

    def __init__(self, code: grpc.StatusCode | None = None, message: str | None = None) -> None:
        self.code = code or self.default_code
        self.message = message or self.default_message
        super().__init__(self.code, self.message)

    @property
    def is_defect(self) -> bool:
        """Whether the service itself is at fault, so that its log says where."""
        return self.code in _DEFECTS

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"


class _Typed(ServiceError):
    def __init__(self, message: str | None = None) -> None:
        super().__init__(None, message)


class Unauthenticated(_Typed):
    """No valid credential, or its session has ended."""

    default_code = grpc.StatusCode.UNAUTHENTICATED
    default_message = "expected a valid credential"


class PermissionDenied(_Typed):
    """The credential is valid and does not allow this."""

    default_code = grpc.StatusCode.PERMISSION_DENIED
    default_message = "the credential does not allow this"


class InvalidArgument(_Typed):
    """The request itself is wrong; `message` names the field and what was expected of it."""

    default_code = grpc.StatusCode.INVALID_ARGUMENT
    default_message = "the request is malformed"


class NotFound(_Typed):
    """It does not exist, or belongs to another: nobody can tell which."""

    default_code = grpc.StatusCode.NOT_FOUND
    default_message = "there is no such object"


class AlreadyExists(_Typed):
    """A name is taken within the caller's own scope."""

    default_code = grpc.StatusCode.ALREADY_EXISTS
    default_message = "the name is taken"


class ResourceExhausted(_Typed):
    """Too much at once."""

    default_code = grpc.StatusCode.RESOURCE_EXHAUSTED
    default_message = "too many requests at once; try again later"


class TooLarge(ResourceExhausted):
    """More bytes than the limit."""

    default_message = "the request is larger than the limit"


class Unavailable(_Typed):
    """Something that the answer needs does not answer."""

    default_code = grpc.StatusCode.UNAVAILABLE
    default_message = "the service cannot answer now; try again later"


class OutcomeUnknown(Unavailable):
    """What was asked for has been done, or has not: the answer to the commit never came."""

    default_code = grpc.StatusCode.UNKNOWN
    default_message = "it is not known whether this was done; look before trying again"


class DeadlineExceeded(_Typed):
    """It took longer than the request's limit."""

    default_code = grpc.StatusCode.DEADLINE_EXCEEDED
    default_message = "the request took longer than its limit"


class Unimplemented(_Typed):
    """The method does not exist here."""

    default_code = grpc.StatusCode.UNIMPLEMENTED
    default_message = "the method is not offered here"


class Internal(_Typed):
    """A defect of the service; its log says where."""


_DEFECTS: Final = frozenset(
    {
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)

_HTTP_STATUS: Final = {
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.UNIMPLEMENTED: 405,
}

_CLOSE_CODE: Final = {
    grpc.StatusCode.UNAUTHENTICATED: 4401,
    grpc.StatusCode.PERMISSION_DENIED: 4403,
    grpc.StatusCode.INVALID_ARGUMENT: 4400,
    grpc.StatusCode.UNIMPLEMENTED: 4400,
    grpc.StatusCode.NOT_FOUND: 4404,
    grpc.StatusCode.ALREADY_EXISTS: 4409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 1013,
    grpc.StatusCode.UNAVAILABLE: 1013,
    grpc.StatusCode.DEADLINE_EXCEEDED: 1013,
}


def http_status(error: ServiceError) -> int:
    """The status of an HTTP answer (RFC 9110, section 15)."""
    return 413 if isinstance(error, TooLarge) else _HTTP_STATUS.get(error.code, 500)


def close_code(error: ServiceError) -> int:
    """The code that closes a WebSocket (RFC 6455, section 7.4; from 4000 they are our own)."""
    return 1009 if isinstance(error, TooLarge) else _CLOSE_CODE.get(error.code, 1011)


def from_context_error(error: ContextError) -> ServiceError:  # noqa: PLR0911 -- a table
    """The refusal of a context: it names the field, and never the value."""
    if isinstance(error, SessionScopeConflict):
        return Internal()
    field = getattr(error, "field", "context")
    if isinstance(error, ContextMissing):
        return Unauthenticated(f"{field}: expected exactly one, got none")
    if isinstance(error, ContextExpired):
        return Unauthenticated(f"{field}: the credential is not valid at this time")
    if isinstance(error, ContextWidened):
        return PermissionDenied(f"{field}: the context claims more than its token")
    if isinstance(error, ScopeDenied):
        return PermissionDenied(f"{field}: the credential lacks a scope that this asks for")
    if isinstance(error, InvalidIdentifier):
        return InvalidArgument(f"{field}: expected an identifier of 1 to 64 printable bytes")
    return InvalidArgument(f"{field}: it is malformed, repeated or over its limit")


def from_error(error: Exception) -> ServiceError:
    """What the caller is told of any exception: what is not known to be harmless is `Internal`.

    Errors of the datastores come typed from `services.runtime.postgres` and `.redis`.
    """
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, ContextError):
        return from_context_error(error)
    if isinstance(error, TimeoutError):
        return DeadlineExceeded()
    if isinstance(error, OSError):
        return Unavailable()
    return Internal()
