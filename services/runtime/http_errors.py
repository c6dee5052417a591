"""Errors over HTTP: one JSON shape, fixed words, and never what the caller sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from services.runtime.errors import (
    InvalidArgument,
    NotFound,
    ServiceError,
    TooLarge,
    Unimplemented,
    from_error,
    http_status,
)

REQUEST_ID_HEADER: Final = "x-request-id"
"""On every answer of a route: by it log lines, spans and trail are found again."""

# Whose messages are pydantic's or our validators' words alone, with limits and no input.
_PLAIN_TYPES: Final = frozenset(
    {
        "bool_type",
        "greater_than_equal",
        "int_from_float",
        "int_parsing",
        "int_parsing_size",
        "int_type",
        "less_than_equal",
        "literal_error",
        "missing",
        "model_attributes_type",
        "model_type",
        "string_pattern_mismatch",
        "string_too_long",
        "string_too_short",
        "string_type",
        "string_unicode",
        "value_error",
    }
)


class ErrorDetail(BaseModel):
    """What went wrong: a gRPC status name, and words for people."""

    code: str
    message: str
    request_id: str


class ErrorBody(BaseModel):
    """The body of every answer that is an error."""

    error: ErrorDetail


def error_response(error: ServiceError, request_id: str) -> JSONResponse:
    """The answer that tells this error."""
    headers = {REQUEST_ID_HEADER: request_id}
    status = http_status(error)
    if status == 401:  # noqa: PLR2004 -- RFC 9110, section 11.6.1
        headers["www-authenticate"] = "Bearer"
    detail = {"code": error.code.name, "message": error.message, "request_id": request_id}
    return JSONResponse({"error": detail}, status_code=status, headers=headers)


def from_http_error(error: Exception) -> ServiceError:
    """What the caller is told of any exception that a route raised."""
    if isinstance(error, RequestValidationError):
        return InvalidArgument(_first_problem(error))
    if isinstance(error, HTTPException):
        return _from_status(error.status_code)
    if isinstance(error, ClientDisconnect):
        return InvalidArgument("body: the connection ended before its end")
    return from_error(error)


def _from_status(status: int) -> ServiceError:
    if status == 404:  # noqa: PLR2004 -- RFC 9110, section 15.5.5
        return NotFound("there is no such path")
    if status == 405:  # noqa: PLR2004 -- RFC 9110, section 15.5.6
        return Unimplemented("the path does not offer this method")
    if status == 413:  # noqa: PLR2004 -- RFC 9110, section 15.5.14
        return TooLarge()
    return InvalidArgument("body: expected JSON in UTF-8")


def _first_problem(error: RequestValidationError) -> str:
    problem: Mapping[str, Any] = error.errors()[0]
    kind = str(problem["type"])
    location = [str(part) for part in problem["loc"] if isinstance(part, str)]
    if kind == "json_invalid":
        return "body: expected JSON in UTF-8"
    if kind == "extra_forbidden":
        # The last part of its place is a name that the caller chose.
        return f"{'.'.join(location[:-1])}: expected no unknown fields"
    words = str(problem["msg"]) if kind in _PLAIN_TYPES else "the value is not accepted"
    return f"{'.'.join(location)}: {words.removeprefix('Value error, ')}"
