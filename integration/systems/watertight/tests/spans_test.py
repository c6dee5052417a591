from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from integration.audit import Channel, Observation
from integration.environment.spans import SpanReceiver
from integration.systems.watertight.spans import observe_spans

TRACE = "a" * 32


def _observed(attributes: dict[str, str]) -> Observation:
    """What the observer makes of a span with these attributes."""
    request: Any = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "backend"
    span = resource.scope_spans.add().spans.add(name="POST /threads")
    span.trace_id, span.span_id = bytes.fromhex(TRACE), bytes(8)
    for name, value in attributes.items():
        span.attributes.add(key=name).value.string_value = value
    receiver = SpanReceiver()
    receiver.Export(request, None)
    (seen,) = observe_spans(receiver.spans)
    return seen


def test_span_is_attributed_by_what_it_states() -> None:
    """A span says whose it is and in which trace, and is seen whole."""
    context = {"tenant": "t", "user": "u", "thread": "th", "run": "r", "request": "q"}
    stated = {f"watertight.{name}_id": value for name, value in context.items()}
    rights = "threads:read usage:read"

    seen = _observed({**stated, "watertight.scopes": rights, "gen_ai.prompt": "canary"})

    assert Channel.TRACES == seen.channel
    assert {**context, "scopes": rights, "trace": TRACE} == seen.attribution
    assert None is seen.allowed
    assert "canary" in str(seen.data)
    assert "backend span: POST /threads" == seen.source


def test_span_that_states_nobody_may_name_nobody() -> None:
    """A stranger's span is in its trace alone."""
    seen = _observed({"watertight.code": "UNAUTHENTICATED"})

    assert {"trace": TRACE} == seen.attribution
    assert () == seen.allowed
