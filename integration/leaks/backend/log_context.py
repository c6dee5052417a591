"""Log lines say the context of another request."""

from __future__ import annotations

from structlog.stdlib import BoundLogger

from contracts.context import UserExecutionContext
from services.runtime import calls, logging


class _SharedLogger:
    """One logger for all requests: bound for one, used by the next."""

    def __init__(self) -> None:
        self._bound: BoundLogger | None = None

    def __call__(
        self, context: UserExecutionContext, trace_id: str | None = None, **more: str | int
    ) -> BoundLogger:
        bound = logging.context_logger(context, None, **more)
        before, self._bound = self._bound, bound
        logger = bound if before is None else before
        return logger if trace_id is None else logger.bind(trace_id=trace_id)


def install() -> None:
    """Replaces the `context_logger` that calls make their lines with."""
    calls.context_logger = _SharedLogger()  # type: ignore[attr-defined]  # imported there
