"""The environment's OTLP receiver, on the loopback, which keeps whatever services send it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """One span: identifiers in hexadecimal, `parent_id` empty where it starts a trace."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: Mapping[str, str | int]


class SpanReceiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans over gRPC (OTLP 1.x). `exports` are the messages as they came."""

    def __init__(self) -> None:
        self.exports: list[bytes] = []
        self.endpoint = ""
        self._spans: list[ReceivedSpan] = []

    def spans_of(self, trace_id: str) -> list[ReceivedSpan]:
        """The spans of one trace that have come so far."""
        return [span for span in list(self._spans) if span.trace_id == trace_id]

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002 -- the protocol's
        """Keeps the spans."""
        self.exports.append(request.SerializeToString())
        for resource in request.resource_spans:
            service = str(_values(resource.resource.attributes).get("service.name", ""))
            for scope in resource.scope_spans:
                self._spans += [_received(service, span) for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()


@contextmanager
def receiving() -> Iterator[SpanReceiver]:
    """A receiver that listens, at its `endpoint`, until the end of the block."""
    receiver = SpanReceiver()
    server = grpc.server(ThreadPoolExecutor(1))
    add: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    add(receiver, server)
    receiver.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield receiver
    finally:
        server.stop(0).wait()


def _received(service: str, span: Any) -> ReceivedSpan:
    return ReceivedSpan(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        _values(span.attributes),
    )


def _values(pairs: Any) -> dict[str, str | int]:
    return {pair.key: pair.value.string_value or pair.value.int_value for pair in pairs}
