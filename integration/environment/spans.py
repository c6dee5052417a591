"""The environment's OTLP receiver, on the loopback, which keeps whatever services send it."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from tools.processes.waiting import until

# Longer than a service tries to send a batch.
ARRIVAL_LIMIT_SECONDS: Final = 15.0
_IDENTIFIERS: Final = frozenset({"traceId", "spanId", "parentSpanId"})


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """One span: identifiers in hexadecimal, `parent_id` empty where it starts a trace."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: Mapping[str, str | int]
    _whole: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def text(self) -> str:
        """All that came of it as JSON: events, links, status, and what its sender says of itself.

        As OTLP's own JSON (identifiers in hexadecimal), but for bytes, which are to be read.
        """
        whole = {name: MessageToDict(message) for name, message in self._whole.items()}
        return json.dumps(_readable(whole), ensure_ascii=False)


class SpansMissingError(Exception):
    """Spans that services have ended did not come: nobody has seen what they say.

    `ended` and `received` are the numbers of spans by service.
    """

    def __init__(self, ended: Mapping[str, int], received: Mapping[str, int]) -> None:
        super().__init__(ended, received)
        self.ended = ended
        self.received = received

    def __str__(self) -> str:
        missing = (
            f"of {service}'s {ended} spans {self.received.get(service, 0)} came"
            for service, ended in self.ended.items()
            if self.received.get(service, 0) < ended
        )
        return ", ".join(missing)


class SpanReceiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans over gRPC (OTLP 1.x). `exports` are the messages as they came."""

    def __init__(self) -> None:
        self.exports: list[bytes] = []
        self.endpoint = ""
        self._spans: list[ReceivedSpan] = []

    @property
    def spans(self) -> list[ReceivedSpan]:
        """Every span that has come so far."""
        return list(self._spans)

    def spans_of(self, trace_id: str) -> list[ReceivedSpan]:
        """The spans of one trace that have come so far."""
        return [span for span in self.spans if span.trace_id == trace_id]

    async def arrival(
        self, ended: Mapping[str, int], limit_seconds: float = ARRIVAL_LIMIT_SECONDS
    ) -> None:
        """Waits until all has come that services have ended; they send it every 50 ms.

        Args:
            ended: how many spans each service has ended by its own count, which is the sum of
                `watertight_spans_total` over the processes that it has had.
            limit_seconds: how long to wait.

        Raises:
            SpansMissingError: some have not come.
        """
        try:
            await until(lambda: self._received() >= Counter(ended), limit_seconds)
        except TimeoutError:
            raise SpansMissingError(ended, self._received()) from None

    def _received(self) -> Counter[str]:
        """How many spans have come of each service. One that was sent twice counts once."""
        spans = {(span.service, span.trace_id, span.span_id) for span in self.spans}
        return Counter(service for service, _, _ in spans)

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002 -- the protocol's
        """Keeps the spans."""
        self.exports.append(request.SerializeToString())
        for resource in request.resource_spans:
            service = str(_values(resource.resource.attributes).get("service.name", ""))
            for scope in resource.scope_spans:
                sender = {"resource": resource.resource, "scope": scope.scope}
                self._spans += [_received(service, span, sender) for span in scope.spans]
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


def _received(service: str, span: Any, sender: Mapping[str, Any]) -> ReceivedSpan:
    return ReceivedSpan(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        _values(span.attributes),
        {**sender, "span": span},
    )


def _values(pairs: Any) -> dict[str, str | int]:
    """Texts and whole numbers; of any other attribute 0."""
    return {
        pair.key: pair.value.string_value
        if pair.value.HasField("string_value")
        else pair.value.int_value
        for pair in pairs
    }


def _readable(value: Any, name: str = "") -> Any:
    """Protobuf's JSON without its base64."""
    if isinstance(value, dict):
        return {key: _readable(part, key) for key, part in value.items()}
    if isinstance(value, list):
        return [_readable(part) for part in value]
    if name in _IDENTIFIERS:
        return base64.b64decode(value).hex()
    if name == "bytesValue":
        return base64.b64decode(value).decode("utf-8", "backslashreplace")
    return value
