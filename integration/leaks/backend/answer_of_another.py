"""A refusal names the request of the refusal before it."""

from __future__ import annotations

from typing import Any

from services.runtime import http_boundary

_respond: Any = http_boundary.error_response  # type: ignore[attr-defined]  # imported there


class _Held:
    """The request of the refusal before."""

    def __init__(self) -> None:
        self._before: str | None = None

    def __call__(self, error: Exception, request_id: str) -> Any:
        before, self._before = self._before or request_id, request_id
        return _respond(error, before)


def install() -> None:
    """Replaces the `error_response` that routes answer with."""
    http_boundary.error_response = _Held()  # type: ignore[attr-defined]
