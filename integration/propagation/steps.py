"""What a message leaves at every service that it passes: the table that the suite checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, unique
from typing import Any, Final

from integration.propagation.evidence import Mark
from integration.propagation.journeys import Entry, Journey

FIELDS: Final = (
    "tenant_id",
    "user_id",
    "thread_id",
    "run_id",
    "request_id",
    "parent_request_id",
    "operation_depth",
    "websocket_client_id",
)
"""What a log line or a span says of a context. A trail's rows lack the last two."""

_NOT_IN_TRAIL: Final = frozenset({"operation_depth", "websocket_client_id"})


@unique
class Request(Enum):
    """Whose request a step is a part of."""

    ENTRY = "the caller's own"
    EXCHANGE = "the backend's, to auth, for a token"
    HOP = "the backend's, to analytics"


@unique
class Reach(Enum):
    """How much of the context is known when a step is taken."""

    NOBODY = frozenset({"request_id"})
    """Who calls as a workload is no user: a line about the call itself names its request alone."""
    USER = frozenset({"tenant_id", "user_id", "request_id", "operation_depth"})
    """At the edge, before a thread was found."""
    THREAD = USER | {"thread_id"}
    RUN = THREAD | {"run_id"}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is left: whose request it belongs to, and how much of the context it knows."""

    request: Request
    reach: Reach = Reach.RUN


Steps = Mapping[tuple[str, str, str], Step]

_ENTRY: Final = Step(Request.ENTRY)
_EXCHANGE: Final = Step(Request.EXCHANGE)
_HOP: Final = Step(Request.HOP)
_ACKNOWLEDGED: Final[Steps] = {
    ("backend", "log", "message acknowledged"): _ENTRY,
    ("backend", "log", "answered"): Step(Request.ENTRY, Reach.USER),
    ("backend", "trail", "messages.send"): _ENTRY,
}
# An entry of the stream is the work of the request that wrote it, wherever it is done.
_BY_STREAM: Final[Steps] = {
    ("analytics", "log", "usage consumed"): _ENTRY,
    ("analytics", "span", "consume usage"): _ENTRY,
    ("analytics", "trail", "usage.consume"): _ENTRY,
}
_EXCHANGED: Final[Steps] = {
    ("auth", "log", "token exchanged"): _EXCHANGE,
    ("auth", "log", "answered"): Step(Request.EXCHANGE, Reach.NOBODY),
    ("auth", "span", "watertight.auth.v1.AuthService/ExchangeToken"): _EXCHANGE,
    ("auth", "trail", "tokens.exchange"): _EXCHANGE,
}
_BY_HOP: Final[Steps] = {
    **_EXCHANGED,
    ("analytics", "log", "usage recorded"): _HOP,
    ("analytics", "log", "answered"): _HOP,
    ("analytics", "span", "watertight.analytics.v1.AnalyticsService/RecordUsage"): _HOP,
    ("analytics", "trail", "usage.record"): _HOP,
}

STEPS: Final[Mapping[Entry, Steps]] = {
    Entry.HTTP: {
        ("backend", "span", "POST /threads/{thread_id}/messages"): _ENTRY,
        **_ACKNOWLEDGED,
        **_BY_HOP,
        **_BY_STREAM,
    },
    Entry.GRPC: {
        ("backend", "span", "watertight.backend.v1.BackendService/SendMessage"): _ENTRY,
        **_ACKNOWLEDGED,
        **_BY_HOP,
        **_BY_STREAM,
    },
    Entry.WEBSOCKET: {
        ("backend", "span", "websocket agent_request"): _ENTRY,
        # The sender follows the thread before the message is stored.
        ("backend", "trail", "threads.subscribe"): Step(Request.ENTRY, Reach.THREAD),
        **_ACKNOWLEDGED,
        **_BY_STREAM,
    },
}
"""What one message leaves, each exactly once, by the channel over which it came."""

QUESTION: Final[Steps] = {
    ("backend", "span", "GET /threads/{thread_id}/usage"): Step(Request.ENTRY, Reach.THREAD),
    ("backend", "log", "answered"): Step(Request.ENTRY, Reach.USER),
    ("backend", "trail", "usage.read"): Step(Request.ENTRY, Reach.THREAD),
    ("auth", "log", "token exchanged"): Step(Request.EXCHANGE, Reach.THREAD),
    ("auth", "log", "answered"): Step(Request.EXCHANGE, Reach.NOBODY),
    ("auth", "span", "watertight.auth.v1.AuthService/ExchangeToken"): Step(
        Request.EXCHANGE, Reach.THREAD
    ),
    ("auth", "trail", "tokens.exchange"): Step(Request.EXCHANGE, Reach.THREAD),
    ("analytics", "log", "answered"): Step(Request.HOP, Reach.THREAD),
    ("analytics", "span", "watertight.analytics.v1.AnalyticsService/GetThreadUsage"): Step(
        Request.HOP, Reach.THREAD
    ),
    ("analytics", "trail", "usage.thread"): Step(Request.HOP, Reach.THREAD),
}
"""What the question for a thread's usage leaves, over HTTP."""


def expected(journey: Journey, step: Step, mark: Mark, requests: Mapping[Request, str]) -> Any:
    """What a mark of this step must say of its context, by the request of each part of the way.

    The caller's label is the caller's: it goes with the request itself, into the stream as well,
    and not to auth, which is asked for a token and no more.
    """
    below = step.request is not Request.ENTRY
    said: dict[str, str | int] = {**journey.scope, "request_id": requests[step.request]}
    said["operation_depth"] = 1 if below else 0
    known = {name: value for name, value in said.items() if name in step.reach.value}
    if step.reach is not Reach.NOBODY:
        if below:
            known["parent_request_id"] = requests[Request.ENTRY]
        if journey.label is not None:
            known["websocket_client_id"] = journey.label
    without = _NOT_IN_TRAIL if mark.kind == "trail" else frozenset[str]()
    return {name: value for name, value in known.items() if name not in without}
