"""Figures, lines and spans name an operation by the path that was asked for."""

from __future__ import annotations

from fastapi import Request

from services.runtime import http_boundary
from services.runtime.http_boundary import HttpEdge

_Exchange = http_boundary._Exchange  # noqa: SLF001 -- a defect takes what it wants


class _ByPath(_Exchange):
    """One request, called after its path, as a router's own name for it is not."""

    def __init__(self, edge: HttpEdge, request: Request, name: str) -> None:
        del name
        super().__init__(edge, request, f"{request.method} {request.url.path}")


def install() -> None:
    """Replaces the `_Exchange` of `services.runtime.http_boundary`."""
    http_boundary._Exchange = _ByPath  # type: ignore[misc]  # noqa: SLF001 -- as above
