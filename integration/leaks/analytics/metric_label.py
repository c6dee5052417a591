"""A figure names its user in a label."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from prometheus_client import Counter

from contracts.context import UserExecutionContext
from services.analytics.domain import Usage
from services.analytics.store import UsageStore

_SPENDING: Final = Counter(
    "watertight_spending_characters", "Characters, by the user who spent them.", ("user",)
)

_Record = Callable[..., Awaitable[bool]]


def _counted(recorded: _Record) -> _Record:
    """Counts what each user spends, for a dashboard to show."""

    async def record(
        store: UsageStore, context: UserExecutionContext, usage: Usage, **work: str
    ) -> bool:
        stored = await recorded(store, context, usage, **work)
        if stored:
            spent = usage.input_characters + usage.output_characters
            _SPENDING.labels(context.user_id).inc(spent)
        return stored

    return record


def install() -> None:
    """Replaces `UsageStore.record`."""
    UsageStore.record = _counted(UsageStore.record)  # type: ignore[method-assign,assignment]
