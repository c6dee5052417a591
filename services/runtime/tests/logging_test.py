from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.stdlib import ProcessorFormatter

from contracts.context import (
    RequestId,
    RunId,
    TenantId,
    ThreadId,
    UserExecutionContext,
    UserId,
)
from services.runtime.logging import (
    configure_logging,
    context_logger,
    error_fields,
    service_logger,
)

_SECRET = "somebody's secret"
_NOW = datetime.now(UTC)
_CONTEXT = UserExecutionContext(
    tenant_id=TenantId("tenant-1"),
    user_id=UserId("user-1"),
    thread_id=ThreadId("thread-1"),
    run_id=RunId("run-1"),
    request_id=RequestId("request-1"),
    issued_at=_NOW,
    expires_at=_NOW + timedelta(minutes=1),
)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Logging as a service has it, kept; undone afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    written = io.StringIO()
    configure_logging("probe", "info", stream=written)
    yield written
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


def _lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_a_line_says_its_context(log: io.StringIO) -> None:
    """Every identifier that the context has, and the trace, whatever task writes it."""
    context_logger(_CONTEXT, "a" * 32).info("stored", sequence=3)
    (line,) = _lines(log)
    del line["timestamp"]

    assert {
        "event": "stored",
        "level": "info",
        "service": "probe",
        "sequence": 3,
        "trace_id": "a" * 32,
        "tenant_id": "tenant-1",
        "user_id": "user-1",
        "thread_id": "thread-1",
        "run_id": "run-1",
        "request_id": "request-1",
        "operation_depth": 0,
    } == line


def test_a_logger_says_its_own_context_alone(log: io.StringIO) -> None:
    """What one logger is bound to is on no other's lines."""
    bound = context_logger(_CONTEXT, "a" * 32)
    service_logger().info("elsewhere")
    bound.info("here")
    elsewhere, here = _lines(log)

    assert {"event", "level", "service", "timestamp"} == set(elsewhere)
    assert "user-1" == here["user_id"]


def test_levels(log: io.StringIO) -> None:
    """What is below the level is not written."""
    service_logger().debug("too much")

    assert [] == _lines(log)


def test_libraries_write_json_too(log: io.StringIO) -> None:
    """Their warnings are lines of the same shape; their chatter is not written."""
    logging.getLogger("asyncio").warning("%s is slow", "something")
    logging.getLogger("uvicorn.error").info("chatter")
    (slow,) = _lines(log)

    assert ("something is slow", "warning", "asyncio", "probe") == (
        slow["event"],
        slow["level"],
        slow["logger"],
        slow["service"],
    )


def _fail() -> None:
    try:
        _ = {"key": 1}[_SECRET]
    except KeyError as error:
        raise ValueError(_SECRET) from error


def test_an_exceptions_words_are_not_logged(log: io.StringIO) -> None:
    """Types and places of an exception and its causes are; what it quotes is not."""
    try:
        _fail()
    except ValueError as error:
        service_logger().error("failed", **error_fields(error))
        logging.getLogger("asyncio").exception("library")
    ours, theirs = _lines(log)

    for line in (ours, theirs):
        assert ["builtins.ValueError", "builtins.KeyError"] == line["error_types"]
        assert any("_fail" in place for place in line["error_places"])
        assert _SECRET not in json.dumps(line)


def test_one_event_is_one_line(log: io.StringIO) -> None:
    """A line break in a message starts no line that somebody else wrote."""
    logging.getLogger("asyncio").warning('first\n{"event": "forged"}')
    service_logger().info("odd", value='x\n{"event": "forged"}')

    assert ["first", "odd"] == [line["event"] for line in _lines(log)]


def test_a_line_that_is_lost_says_nothing_else(log: io.StringIO) -> None:
    """A line that cannot be made is told as lost, without its arguments."""
    root = logging.getLogger()
    # pytest's own handlers would raise what ours tells.
    root.handlers[:] = [h for h in root.handlers if isinstance(h.formatter, ProcessorFormatter)]
    logging.getLogger("asyncio").warning("%d", _SECRET)

    assert ["log line lost"] == [line["event"] for line in _lines(log)]
    assert _SECRET not in log.getvalue()
