from collections.abc import Iterator

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, Status, StatusCode, Tracer

from integration.environment.spans import SpanReceiver, SpansMissingError, receiving


@pytest.fixture
def receiver() -> Iterator[SpanReceiver]:
    """An OTLP receiver that listens."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def tracer(receiver: SpanReceiver) -> Iterator[Tracer]:
    """Makes spans of a service, each of which is sent when it ends."""
    resource = Resource({"service.name": "backend", "host.name": "of-resource"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=receiver.endpoint, insecure=True, timeout=5)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("of-scope")
    provider.shutdown()


def test_text_holds_all_that_came(receiver: SpanReceiver, tracer: Tracer) -> None:
    """Whatever a service writes into any part of a span can be read in its text."""
    with tracer.start_span("linked") as linked:
        pass
    link = Link(linked.get_span_context(), {"key": "of-link"})
    with tracer.start_span("of-name", links=[link]) as span:
        span.set_attribute("of-key", ["of-value", "é"])
        span.set_attribute("bytes", b"of-bytes")
        span.add_event("of-event", {"key": "of-event-value"})
        span.set_status(Status(StatusCode.ERROR, "of-status"))

    before, after = receiver.spans

    context = span.get_span_context()
    assert f"{context.trace_id:032x}" == after.trace_id
    assert before.trace_id in after.text
    for part in ("name", "key", "value", "bytes", "event", "event-value", "status", "link"):
        assert f'"of-{part}"' in after.text
    for part in (after.trace_id, after.span_id, "é", "of-resource", "of-scope"):
        assert part in after.text


async def test_arrival_is_when_all_have_come(receiver: SpanReceiver, tracer: Tracer) -> None:
    """Whoever waits for what services have ended is told what is missing, and of whom."""
    with tracer.start_span("one"):
        pass

    await receiver.arrival({"backend": 1})
    with pytest.raises(SpansMissingError, match="of backend's 2 spans 1 came") as missing:
        await receiver.arrival({"backend": 2, "auth": 0}, limit_seconds=0.05)

    assert {"backend": 1} == missing.value.received


async def test_span_sent_twice_counts_once(receiver: SpanReceiver, tracer: Tracer) -> None:
    """An exporter that tries again, since no answer came, does not hide that another is missing."""
    with tracer.start_span("one"):
        pass
    twice = receiver.spans * 2
    receiver._spans[:] = twice  # what a second export leaves

    with pytest.raises(SpansMissingError):
        await receiver.arrival({"backend": 2}, limit_seconds=0.05)
