"""Figures for Prometheus. No identifier is ever a label: figures are of everybody."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram
from structlog.stdlib import BoundLogger

from services.runtime.errors import ServiceError

REFUSALS: Final = Counter(
    "watertight_refusals", "Requests refused, by channel and status code.", ("channel", "code")
)
REQUESTS: Final = Counter(
    "watertight_requests",
    "Requests answered, by channel, operation and status code.",
    ("channel", "operation", "code"),
)
DURATIONS: Final = Histogram(
    "watertight_request_duration_seconds",
    "How long an answer took, by channel and operation.",
    ("channel", "operation"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)

SPANS: Final = Counter(
    "watertight_spans", "Spans ended, each of which is sent to the collector where there is one."
)

IN_FLIGHT: Final = Gauge(
    "watertight_requests_in_flight", "Requests begun and not yet answered.", ("channel",)
)


def refuse(
    channel: str, error: ServiceError, log: BoundLogger, **identifiers: str | int | None
) -> None:
    """Counts and logs one refusal: status and reason in the service's own words, no credential."""
    REFUSALS.labels(channel, error.code.name).inc()
    log.warning(
        "refused", channel=channel, code=error.code.name, reason=error.message, **identifiers
    )
