"""A span says the context of the operation before it."""

from __future__ import annotations

from contracts.context import UserExecutionContext
from services.runtime.telemetry import Operation

_bind = Operation.bind
_kept: list[UserExecutionContext] = []


def _late(operation: Operation, context: UserExecutionContext) -> None:
    _kept.append(context)
    _bind(operation, _kept.pop(0) if len(_kept) > 1 else context)


def install() -> None:
    """Replaces `Operation.bind`."""
    Operation.bind = _late  # type: ignore[method-assign,assignment]
