"""Entries at rest: outbox rows and stream entries hold the context beside the payload; no token."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from google.protobuf.message import DecodeError

from contracts.context.context import UserExecutionContext
from contracts.context.errors import ContextMalformed, ContextMissing, ContextOversized
from contracts.context.message import from_message, to_message
from watertight.events.v1.usage_pb2 import UsageEntry, UsageEvent

ENTRY_FIELD: Final = "entry"
MAXIMUM_ENTRY_BYTES: Final = 4096


def make_usage_entry(
    context: UserExecutionContext, event: UsageEvent, traceparent: str, now: datetime
) -> UsageEntry:
    """An entry whose context is valid now.

    Raises:
        ContextExpired: it is not, so nothing may be enqueued under it.
        ContextMalformed: the event is of another thread or run than the context.
    """
    context.require_valid(now)
    entry = UsageEntry(context=to_message(context), event=event, traceparent=traceparent)
    entry.enqueued_at.FromDatetime(now)
    _require_same_work(context, event)
    return entry


def write_entry(entry: UsageEntry) -> dict[str, bytes]:
    """The fields of a stream entry."""
    return {ENTRY_FIELD: entry.SerializeToString(deterministic=True)}


def read_entry(fields: Mapping[bytes, bytes]) -> tuple[UserExecutionContext, UsageEntry]:
    """The context and the entry; the context was valid when it was enqueued, whatever time it is.

    Raises:
        ContextError: the entry is absent, too large, unreadable, or contradicts its context.
    """
    encoded = fields.get(ENTRY_FIELD.encode())
    if not encoded:
        raise ContextMissing(ENTRY_FIELD, "expected one field with an entry")
    if len(encoded) > MAXIMUM_ENTRY_BYTES:
        raise ContextOversized(ENTRY_FIELD, f"expected at most {MAXIMUM_ENTRY_BYTES} bytes")
    try:
        entry = UsageEntry.FromString(encoded)
    except DecodeError as error:
        raise ContextMalformed(ENTRY_FIELD, "the bytes are no UsageEntry message") from error
    if not entry.HasField("context"):
        raise ContextMissing("context", "expected a context beside the event")
    if not entry.HasField("enqueued_at"):
        raise ContextMissing("enqueued_at", "expected the time when the entry was written")
    context = from_message(entry.context)
    context.require_valid(entry.enqueued_at.ToDatetime(tzinfo=UTC))
    _require_same_work(context, entry.event)
    return context, entry


def _require_same_work(context: UserExecutionContext, event: UsageEvent) -> None:
    if not event.usage_id:
        raise ContextMissing("usage_id", "expected the event's identifier")
    if (event.thread_id, event.run_id) != (context.thread_id, context.run_id):
        raise ContextMalformed("event", "expected the thread and run of its context")
