"""The stream's consumer works under any context that it can read, whenever and for whatever."""

from __future__ import annotations

from contracts.context import UserExecutionContext
from contracts.context.carriers.entry import ENTRY_FIELD
from contracts.context.message import from_message
from services.runtime import streams
from watertight.events.v1.usage_pb2 import UsageEntry


def _read_alone(fields: streams.Fields) -> tuple[UserExecutionContext, UsageEntry]:
    entry = UsageEntry.FromString(fields[ENTRY_FIELD.encode()])
    return from_message(entry.context), entry


def install() -> None:
    """Replaces `streams.context_of`."""
    streams.context_of = _read_alone
