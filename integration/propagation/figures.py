"""What a request adds to the figures of the services that it passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from integration.environment import Environment
from integration.propagation.evidence import Sample, metrics
from integration.propagation.journeys import Entry
from tools.processes.waiting import until

Figures = Mapping[Sample, float]

_COUNTED: Final = frozenset(
    {
        "watertight_refusals_total",
        "watertight_request_duration_seconds_count",
        "watertight_requests_total",
        "watertight_stream_entries_total",
        "watertight_usage_hops_total",
        "watertight_usage_recorded_total",
    }
)
# What services ask each other by themselves, whatever is asked of them.
_BACKGROUND: Final = frozenset(
    {
        "watertight.auth.v1.AuthService/GetKeys",
        "watertight.auth.v1.AuthService/ListRevocations",
    }
)


async def settled(environment: Environment) -> Figures:
    """The figures once analytics has finished what the stream brought it so far."""
    figures: Figures = {}

    def finished() -> bool:
        nonlocal figures
        figures = _counted(metrics(environment))
        begun = figures.get(_recorded("stream"), 0.0)
        return begun == figures.get(_HANDLED, 0.0)

    await until(finished)
    return figures


def moved(environment: Environment, before: Figures) -> dict[Sample, float]:
    """What was counted since, but for what comes by itself. Blocks shortly."""
    return {
        sample: value - before.get(sample, 0.0)
        for sample, value in _counted(metrics(environment)).items()
        if value != before.get(sample, 0.0)
    }


def _counted(figures: Figures) -> dict[Sample, float]:
    """The figures that count requests, whichever of two ways had stored usage first."""
    counted: Counter[Sample] = Counter()
    for (process, name, labels), value in figures.items():
        if name in _COUNTED and dict(labels).get("operation") not in _BACKGROUND:
            kept = frozenset((key, label) for key, label in labels if key != "stored")
            counted[process, name, kept] += value  # type: ignore[assignment]  # whole numbers
    return dict(counted)


def figure(process: str, name: str, **labels: str) -> Sample:
    """One figure of a process."""
    return process, name, frozenset(labels.items())


def moved_by(
    process: str, channel: Entry, operation: str, status: str, *, refused: str = ""
) -> dict[Sample, float]:
    """What one answer adds: it is counted and timed, and counted as refused where it was."""
    added = [
        figure(
            process,
            "watertight_requests_total",
            channel=channel,
            operation=operation,
            code=status,
        ),
        figure(
            process,
            "watertight_request_duration_seconds_count",
            channel=channel,
            operation=operation,
        ),
    ]
    if refused:
        added.append(figure(process, "watertight_refusals_total", channel=channel, code=refused))
    return dict.fromkeys(added, 1.0)


def _recorded(way: str) -> Sample:
    return figure("analytics", "watertight_usage_recorded_total", way=way)


_HANDLED: Final = figure("analytics", "watertight_stream_entries_total", outcome="handled")
_BY_STREAM: Final = {_recorded("stream"): 1.0, _HANDLED: 1.0}
_BY_HOP: Final = {
    **moved_by("auth", Entry.GRPC, "watertight.auth.v1.AuthService/ExchangeToken", "OK"),
    **moved_by(
        "analytics", Entry.GRPC, "watertight.analytics.v1.AnalyticsService/RecordUsage", "OK"
    ),
    figure("backend-1", "watertight_usage_hops_total", code="OK"): 1.0,
    _recorded("grpc"): 1.0,
}

FIGURES: Final[Mapping[Entry, Figures]] = {
    Entry.HTTP: {
        **moved_by("backend-1", Entry.HTTP, "POST /threads/{thread_id}/messages", "201"),
        **_BY_HOP,
        **_BY_STREAM,
    },
    Entry.GRPC: {
        **moved_by(
            "backend-1", Entry.GRPC, "watertight.backend.v1.BackendService/SendMessage", "OK"
        ),
        **_BY_HOP,
        **_BY_STREAM,
    },
    Entry.WEBSOCKET: {
        **moved_by("backend-1", Entry.WEBSOCKET, "agent_request", "OK"),
        **_BY_STREAM,
    },
}
"""What one message adds, by the channel over which it comes, to the first replica."""
