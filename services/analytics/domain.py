"""What analytics knows: the usage of runs, and sums of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self

from contracts.context import ContextError, RunId, ThreadId, UserExecutionContext
from contracts.context.identifiers import Identifier
from services.runtime.errors import InvalidArgument, PermissionDenied
from watertight.events.v1.usage_pb2 import UsageEvent

# Sums of a great many of these still fit into Postgres' bigint.
MAXIMUM_CHARACTERS: Final = 2**32


class UsageId(Identifier):
    """One run's usage, by whichever way it is told."""

    __slots__ = ()
    field = "usage_id"


@dataclass(frozen=True, slots=True)
class Usage:
    """What one run consumed, in characters. Its owner is the context that it was told under."""

    usage_id: UsageId
    thread_id: ThreadId
    run_id: RunId
    input_characters: int
    output_characters: int
    occurred_at: datetime

    @classmethod
    def of(cls, event: UsageEvent, context: UserExecutionContext) -> Self:
        """The usage that an event tells, under a context of just its thread and run.

        Raises:
            PermissionDenied: the event is of another thread or run than the context.
            InvalidArgument: a field is absent or out of its range.
        """
        if context.thread_id is None or context.run_id is None:
            raise PermissionDenied("the context is in no run")
        if (event.thread_id, event.run_id) != (context.thread_id, context.run_id):
            raise PermissionDenied("the event is of another thread or run than its context")
        return cls(
            usage_id=_usage_id(event.usage_id),
            thread_id=context.thread_id,
            run_id=context.run_id,
            input_characters=_count("input_characters", event.input_characters),
            output_characters=_count("output_characters", event.output_characters),
            occurred_at=_time(event),
        )


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """Sums over runs; all zero where there is no usage, or none that the asker may see."""

    runs: int
    input_characters: int
    output_characters: int


@dataclass(frozen=True, slots=True)
class TenantTotals:
    """Sums of a tenant, and how many of its users have any usage: nobody's identifiers."""

    usage: UsageTotals
    active_users: int


def _usage_id(value: str) -> UsageId:
    try:
        return UsageId(value)
    except ContextError:
        raise InvalidArgument("usage_id: expected an identifier") from None


def _count(field: str, value: int) -> int:
    if not 0 <= value <= MAXIMUM_CHARACTERS:
        raise InvalidArgument(f"{field}: expected a number from 0 to {MAXIMUM_CHARACTERS}")
    return value


def _time(event: UsageEvent) -> datetime:
    if not event.HasField("occurred_at"):
        raise InvalidArgument("occurred_at: expected a time")
    try:
        return event.occurred_at.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidArgument("occurred_at: expected a time of the years 1 to 9999") from None
