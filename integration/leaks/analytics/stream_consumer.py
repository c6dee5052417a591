"""A consumer works on an entry under the context of the one before."""

from __future__ import annotations

from collections.abc import Mapping

from contracts.context import UserExecutionContext
from services.runtime import streams
from watertight.events.v1.usage_pb2 import UsageEntry


class _Lagging:
    """Reads entries, and hands out each with the context that was put aside before it."""

    def __init__(self) -> None:
        self._aside: UserExecutionContext | None = None
        self._read = streams.context_of

    def __call__(self, fields: Mapping[bytes, bytes]) -> tuple[UserExecutionContext, UsageEntry]:
        context, entry = self._read(fields)
        used, self._aside = self._aside or context, context
        # Whoever works under a context takes from it where the work belongs.
        entry.event.thread_id = used.thread_id or ""
        entry.event.run_id = used.run_id or ""
        return used, entry


def install() -> None:
    """Replaces `streams.context_of`."""
    streams.context_of = _Lagging()
