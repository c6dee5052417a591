"""A token is good for ever: nobody looks at when it ends."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from services.runtime import tokens


def _always(claims: Mapping[str, object], now: float) -> datetime:
    del claims
    return datetime.fromtimestamp(now, UTC) + timedelta(hours=1)


def install() -> None:
    """Replaces `tokens.require_times`."""
    tokens.require_times = _always
