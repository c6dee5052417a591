"""A driver's words for a lost connection are not understood."""

from __future__ import annotations

from services.runtime import postgres


def _not_understood(error: Exception) -> None:
    """No error of the driver means anything here."""
    del error


def install() -> None:
    """Replaces `postgres.typed_error`."""
    postgres.typed_error = _not_understood  # type: ignore[attr-defined]
