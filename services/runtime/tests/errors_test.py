from __future__ import annotations

import pytest

from contracts.context import (
    ContextDuplicated,
    ContextError,
    ContextExpired,
    ContextMalformed,
    ContextMissing,
    ContextOversized,
    ContextWidened,
    DepthExceeded,
    InvalidIdentifier,
    ScopeDenied,
    SessionScopeConflict,
)
from services.runtime.errors import (
    AlreadyExists,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    ServiceError,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    close_code,
    from_error,
    http_status,
)

_SECRET = "somebody's secret"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Unauthenticated(), 401, 4401),
        (PermissionDenied(), 403, 4403),
        (InvalidArgument(), 400, 4400),
        (NotFound(), 404, 4404),
        (AlreadyExists(), 409, 4409),
        (ResourceExhausted(), 429, 1013),
        (TooLarge(), 413, 1009),
        (Unavailable(), 503, 1013),
        (DeadlineExceeded(), 504, 1013),
        (Unimplemented(), 405, 4400),
        (Internal(), 500, 1011),
    ],
)
def test_one_error_on_every_channel(error: ServiceError, status: int, code: int) -> None:
    """Each error has one HTTP status and one close code."""
    assert (status, code) == (http_status(error), close_code(error))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ContextMissing("user_id", _SECRET), Unauthenticated),
        (ContextExpired("user_id", _SECRET), Unauthenticated),
        (ContextWidened("user_id", _SECRET), PermissionDenied),
        (ScopeDenied("user_id", _SECRET), PermissionDenied),
        (ContextMalformed("user_id", _SECRET), InvalidArgument),
        (ContextDuplicated("user_id", _SECRET), InvalidArgument),
        (ContextOversized("user_id", _SECRET), InvalidArgument),
        (DepthExceeded("user_id", _SECRET), InvalidArgument),
        (InvalidIdentifier("user_id", _SECRET, _SECRET), InvalidArgument),
        (SessionScopeConflict("user_id", _SECRET), Internal),
    ],
)
def test_a_refused_context_is_told_by_field(error: ContextError, kind: type[ServiceError]) -> None:
    """A refusal names the field where the caller can do something about it, and never the value."""
    told = from_error(error)

    assert kind is type(told)
    assert _SECRET not in f"{told} {told.message}"
    assert kind is Internal or told.message.startswith("user_id: ")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(_SECRET), DeadlineExceeded),
        (ConnectionRefusedError(_SECRET), Unavailable),
        (ValueError(_SECRET), Internal),
        (RecursionError(_SECRET), Internal),
    ],
)
def test_any_other_error_is_told_in_fixed_words(error: Exception, kind: type[ServiceError]) -> None:
    """What was not foreseen is said to be unavailable, late, or a defect: no more."""
    told = from_error(error)

    assert kind is type(told)
    assert kind.default_message == told.message


def test_a_service_error_stays_itself() -> None:
    """What was decided is not decided again."""
    error = NotFound()

    assert error is from_error(error)
