"""The observer of traces: every span that a service has sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from integration.audit import Channel, Observation
from integration.environment.spans import ReceivedSpan

_ATTRIBUTES: Final = {
    "watertight.tenant_id": "tenant",
    "watertight.user_id": "user",
    "watertight.thread_id": "thread",
    "watertight.run_id": "run",
    "watertight.request_id": "request",
}


def observe_spans(spans: Iterable[ReceivedSpan]) -> Iterator[Observation]:
    """Each span, whole, with the context that it states."""
    for span in spans:
        attribution = {
            name: str(value)
            for attribute, name in _ATTRIBUTES.items()
            if (value := span.attributes.get(attribute)) is not None
        }
        rights = span.attributes.get("watertight.scopes")
        yield Observation(
            Channel.TRACES,
            span.text,
            attribution={
                **attribution,
                **({} if rights is None else {"scopes": str(rights)}),
                "trace": span.trace_id,
            },
            # A span that says of nobody whose it is may name nobody.
            allowed=None if attribution else (),
            source=f"{span.service} span: {span.name}",
        )
