"""JSON logs on standard error, one line each: identifiers and numbers, no content, no tokens.

What a line says of a context is bound from the context itself, never from ambient state. Lines
of libraries (uvicorn, gRPC, asyncio, SQLAlchemy) take the same way, and say of an exception its
type and the places that it passed, not its message, which may quote a row or a request.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from pathlib import PurePath
from typing import Any, Final, TextIO, cast

import structlog
from structlog.stdlib import BoundLogger, ProcessorFormatter
from structlog.typing import Processor

from contracts.context import UserExecutionContext
from contracts.context.carriers.log import log_fields

_MAXIMUM_PLACES: Final = 20


def error_fields(error: BaseException) -> dict[str, object]:
    """What a log line may say of an exception: types and places, innermost last, no messages."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    places = [
        f"{PurePath(frame.filename).name}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    return {
        "error_types": [f"{type(e).__module__}.{type(e).__qualname__}" for e in chain],
        "error_places": places[-_MAXIMUM_PLACES:],
    }


def _describe_exception(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    information = event.pop("exc_info", None)
    event.pop("stack_info", None)
    if information is True:
        information = sys.exc_info()
    error = information[1] if isinstance(information, tuple) else information
    if isinstance(error, BaseException):
        event.update(error_fields(error))
    return event


class _ServiceName:
    """Puts the service's name on every line."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __call__(
        self, _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        event["service"] = self._service
        return event


def _first_line(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    # Libraries append reprs and tracebacks to their messages; the first line says what happened.
    event["event"] = str(event["event"]).split("\n", 1)[0][:200]
    return event


class _QuietHandler(logging.StreamHandler[TextIO]):
    """Says of a line that cannot be written only that it was lost, not what it held."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- logging's name
        """Instead of logging's own, which prints the message and its arguments."""
        with contextlib.suppress(OSError, ValueError):
            lost = {"event": "log line lost", "level": "error", "logger": record.name}
            self.stream.write(f"{json.dumps(lost)}\n")


def configure_logging(service: str, level: str, *, stream: TextIO | None = None) -> None:
    """Sends every line of this process to standard error as JSON; call it once, at start.

    Args:
        service: its name, on every line.
        level: `debug`, `info`, `warning` or `error`; libraries write from `warning` on.
        stream: instead of standard error.
    """
    stamps: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _ServiceName(service),
    ]
    formatter = ProcessorFormatter(
        foreign_pre_chain=[*stamps, structlog.stdlib.add_logger_name, _first_line],
        processors=[
            ProcessorFormatter.remove_processors_meta,
            _describe_exception,
            structlog.processors.JSONRenderer(),
        ],
    )
    handler = _QuietHandler(stream or sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("watertight").setLevel(level.upper())
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *stamps,
            ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def service_logger() -> BoundLogger:
    """For lines that are about the service and no context."""
    return cast("BoundLogger", structlog.get_logger("watertight"))


def context_logger(
    context: UserExecutionContext, trace_id: str | None = None, **more: str | int
) -> BoundLogger:
    """For lines about work under this context; each says its identifiers and its trace."""
    fields: Mapping[str, str | int] = log_fields(context)
    trace = {} if trace_id is None else {"trace_id": trace_id}
    return service_logger().bind(**fields, **trace, **more)
