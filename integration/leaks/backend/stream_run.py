"""The stream's carrier keeps the first run that it was given, whatever run the usage is of."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from contracts.context import RunId, UserExecutionContext
from contracts.context.carriers.entry import make_usage_entry
from services.backend import conversations
from watertight.events.v1.usage_pb2 import UsageEntry, UsageEvent

_kept: list[RunId] = []


def _entry_of_first_run(
    context: UserExecutionContext, event: UsageEvent, traceparent: str, now: datetime
) -> UsageEntry:
    _kept.append(RunId(event.run_id))
    changed = UsageEvent()
    changed.CopyFrom(event)
    changed.run_id = _kept[0]
    return make_usage_entry(replace(context, run_id=_kept[0]), changed, traceparent, now)


def install() -> None:
    """Replaces the `make_usage_entry` that conversations write the outbox with."""
    conversations.make_usage_entry = _entry_of_first_run  # type: ignore[attr-defined]
