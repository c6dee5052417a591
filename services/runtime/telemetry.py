"""Spans, made explicitly: each says the context that it works under, and what called it.

Nothing here reads or writes a context variable: a long-lived task cannot work under a forgotten
span. Every operation has a trace, exported or not, so that its log lines and its calls carry the
caller's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from contracts.context import UserExecutionContext
from contracts.context.carriers.log import log_fields
from contracts.context.carriers.trace import TraceParent
from services.runtime.errors import ServiceError
from services.runtime.metrics import SPANS

# The default queue of 2,048 loses most spans under load.
_QUEUE_SPANS: Final = 100_000
_BATCH_SPANS: Final = 2_048
_DELAY_MILLISECONDS: Final = 50
# A batch that is not taken in this time is lost, and a busy collector may be slow.
_EXPORT_SECONDS: Final = 10
# One that is gone must not hold up the end of the process, though.
_FLUSH_SECONDS: Final = 1.0


class Operation:
    """One span: its place in the trace, and the context that it works under."""

    def __init__(self, span: Span) -> None:
        self._span = span
        found = span.get_span_context()
        self.trace = TraceParent(
            f"{found.trace_id:032x}", f"{found.span_id:016x}", int(found.trace_flags)
        )
        """What this operation's own calls continue."""
        self.context: UserExecutionContext | None = None
        """The last that was bound; none as long as nobody knows who calls."""

    def bind(self, context: UserExecutionContext) -> None:
        """Says on the span that this is its context; absent identifiers are left as they are."""
        for name, value in log_fields(context).items():
            self._span.set_attribute(f"watertight.{name}", value)
        self._span.set_attribute("watertight.scopes", " ".join(sorted(context.scopes)))
        self.context = context

    def fail(self, error: ServiceError) -> None:
        """Says how the operation ended, by its status alone."""
        self._span.set_attribute("watertight.code", error.code.name)
        self._span.set_status(Status(StatusCode.ERROR, error.code.name))


class Telemetry:
    """Makes this process's spans, and sends them where an endpoint is set."""

    def __init__(
        self, service: str, provider: TracerProvider, exporter: OTLPSpanExporter | None
    ) -> None:
        self._provider = provider
        self._exporter = exporter
        self._tracer = provider.get_tracer(f"watertight.{service}")

    @contextmanager
    def span(
        self,
        name: str,
        context: UserExecutionContext | None,
        parent: TraceParent | None,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> Iterator[Operation]:
        """One operation, from here to the end of the block, under this context.

        Without a parent it starts a trace. A caller's sampling flag decides nothing: no caller can
        hide what it did.
        """
        span = self._tracer.start_span(
            name, context=_parent_context(parent), kind=kind, record_exception=False
        )
        operation = Operation(span)
        if context is not None:
            operation.bind(context)
        try:
            yield operation
        except BaseException:
            span.set_status(Status(StatusCode.ERROR))
            raise
        finally:
            span.end()
            SPANS.inc()

    def flush(self) -> bool:
        """Sends what waits; blocking."""
        return self._provider.force_flush()

    def shutdown(self) -> None:
        """Sends what waits, gives up after 1 s, and stops; blocking."""
        stopping = Thread(target=self._provider.shutdown, name="telemetry", daemon=True)
        stopping.start()
        stopping.join(_FLUSH_SECONDS)
        if stopping.is_alive() and self._exporter is not None:
            self._exporter.shutdown()


def _parent_context(parent: TraceParent | None) -> Context:
    if parent is None:
        return Context()
    return set_span_in_context(
        NonRecordingSpan(
            SpanContext(
                int(parent.trace_id, 16),
                int(parent.span_id, 16),
                is_remote=True,
                trace_flags=TraceFlags(parent.flags),
            )
        ),
        Context(),
    )


def configure_telemetry(service: str, otlp_endpoint: str) -> Telemetry:
    """Spans of this service, sent to an OTLP collector (gRPC) unless the endpoint is empty.

    The name and the version of nothing else enter the resource: no host, no process arguments.
    """
    provider = TracerProvider(
        sampler=ALWAYS_ON, resource=Resource({"service.name": service}), shutdown_on_exit=False
    )
    exporter = None
    if otlp_endpoint:
        exporter = OTLPSpanExporter(
            endpoint=otlp_endpoint,
            insecure=otlp_endpoint.startswith("http://"),
            timeout=_EXPORT_SECONDS,
        )
        provider.add_span_processor(
            BatchSpanProcessor(
                exporter,
                max_queue_size=_QUEUE_SPANS,
                max_export_batch_size=_BATCH_SPANS,
                schedule_delay_millis=_DELAY_MILLISECONDS,
                export_timeout_millis=_EXPORT_SECONDS * 1000,
            )
        )
    return Telemetry(service, provider, exporter)
