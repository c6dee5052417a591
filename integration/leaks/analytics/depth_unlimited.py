"""Nobody counts how deep a chain of calls is."""

from __future__ import annotations

from contracts.context import context

_ENDLESS = 1_000_000


def install() -> None:
    """Replaces the `MAXIMUM_OPERATION_DEPTH` that contexts are checked with."""
    context.MAXIMUM_OPERATION_DEPTH = _ENDLESS  # type: ignore[misc]
