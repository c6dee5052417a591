from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from queue import Queue
from threading import Event, Thread
from threading import enumerate as enumerate_threads
from typing import Any

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from contracts.context import RequestId, Scope, TenantId, UserExecutionContext, UserId
from contracts.context.carriers.trace import TraceParent
from services.runtime.errors import NotFound
from services.runtime.telemetry import Telemetry, configure_telemetry
from tools.processes.waiting import wait_until

_NOW = datetime.now(UTC)
# Shorter than a batch is tried.
_LIMIT_SECONDS = 5.0
_PARENT = TraceParent("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 0)


def _context(user: str) -> UserExecutionContext:
    return UserExecutionContext(
        tenant_id=TenantId("tenant-1"),
        user_id=UserId(user),
        request_id=RequestId("request-1"),
        scopes=frozenset({Scope.USAGE_READ, Scope.THREADS_READ}),
        issued_at=_NOW,
        expires_at=_NOW + timedelta(minutes=1),
    )


class _Collector(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.spans: Queue[Span] = Queue()
        self.answers = Event()
        self.answers.set()

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002 -- the protocol's
        """Keeps the spans."""
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.put(span)
        self.answers.wait(2 * _LIMIT_SECONDS)
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
def collector() -> Iterator[tuple[_Collector, Telemetry]]:
    """A collector, and telemetry that sends to it."""
    servicer = _Collector()
    server = grpc.server(ThreadPoolExecutor(1))
    add: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    add(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    telemetry = configure_telemetry("probe", f"http://127.0.0.1:{port}")
    yield servicer, telemetry
    telemetry.shutdown()
    servicer.answers.set()
    server.stop(0).wait()


def _attributes(span: Span) -> dict[str, Any]:
    return {pair.key: pair.value.string_value or pair.value.int_value for pair in span.attributes}


def test_a_span_says_its_context_and_its_caller(
    collector: tuple[_Collector, Telemetry],
) -> None:
    """Exported spans carry the context's identifiers and continue the caller's trace."""
    servicer, telemetry = collector
    with telemetry.span("work", _context("user-1"), _PARENT) as operation:
        assert _PARENT.trace_id == operation.trace.trace_id
    assert telemetry.flush()
    span = servicer.spans.get(timeout=5)

    assert (_PARENT.trace_id, _PARENT.span_id) == (span.trace_id.hex(), span.parent_span_id.hex())
    assert operation.trace.span_id == span.span_id.hex()
    assert {
        "watertight.tenant_id": "tenant-1",
        "watertight.user_id": "user-1",
        "watertight.request_id": "request-1",
        "watertight.operation_depth": 0,
        "watertight.scopes": "threads:read usage:read",
    } == _attributes(span)


def test_failures_say_no_words(collector: tuple[_Collector, Telemetry]) -> None:
    """A span that failed says that it did, and nothing of what the exception quotes."""
    servicer, telemetry = collector
    with pytest.raises(ValueError, match="secret"), telemetry.span("work", None, None):
        raise ValueError("somebody's secret")
    with telemetry.span("work", None, None) as operation:
        operation.fail(NotFound())
    telemetry.flush()
    spans = [servicer.spans.get(timeout=5) for _ in range(2)]

    assert all("secret" not in str(span) for span in spans)
    assert [2, 2] == [span.status.code for span in spans]


def test_collector_that_hangs_does_not_hold_up_the_end(
    collector: tuple[_Collector, Telemetry],
) -> None:
    """Who does not answer is given up long before a batch would be."""
    servicer, telemetry = collector
    servicer.answers.clear()
    with telemetry.span("work", None, None):
        pass
    servicer.spans.get(timeout=_LIMIT_SECONDS)
    ending = Thread(target=telemetry.shutdown)
    ending.start()
    ending.join(_LIMIT_SECONDS)

    assert not ending.is_alive()
    wait_until(
        lambda: "telemetry" not in {each.name for each in enumerate_threads()}, _LIMIT_SECONDS
    )


def test_nothing_is_ambient() -> None:
    """Inside a span there is no current span, so no other work can be taken for its own."""
    telemetry = configure_telemetry("probe", "")
    with telemetry.span("outer", _context("user-1"), None) as outer:
        assert not trace.get_current_span().get_span_context().is_valid
        assert not [v for v in copy_context() if "span" in v.name.lower()]
        with telemetry.span("inner", _context("user-2"), None) as inner:
            assert outer.trace.trace_id != inner.trace.trace_id


def test_a_trace_without_an_endpoint() -> None:
    """Log lines and calls have a trace, whether anybody collects spans or not."""
    telemetry = configure_telemetry("probe", "")
    with telemetry.span("work", None, None) as operation:
        assert 32 == len(operation.trace.trace_id)
        assert int(operation.trace.trace_id, 16)
    assert telemetry.flush()
    telemetry.shutdown()
