"""Who is refused is told so, and nobody else is: it is neither counted nor logged."""

from __future__ import annotations

from structlog.stdlib import BoundLogger

from services.backend import websocket
from services.runtime import grpc_server, http_boundary
from services.runtime.errors import ServiceError


def _silent(
    _channel: str, _error: ServiceError, _log: BoundLogger, **_identifiers: str | int | None
) -> None:
    """Does nothing."""


def install() -> None:
    """Replaces the `refuse` of every edge."""
    for module in (grpc_server, http_boundary, websocket):
        module.refuse = _silent  # type: ignore[attr-defined]  # imported there
