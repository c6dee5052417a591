"""What the audit is told of our system: channels, operations, subscriptions, measures.

The table is the promise: whatever an operation may not bring is a leak when it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from contracts.context import ADMINISTRATOR_SCOPES, MEMBER_SCOPES
from integration.audit import (
    ADMINISTRATOR,
    MEMBER,
    AllowancePlan,
    Channel,
    ChannelPlan,
    Expectation,
    Level,
    MeasurePlan,
    ObservationClass,
    OperationKind,
    OperationPlan,
    Reach,
    SubscriptionPlan,
    SystemDescription,
)

MESSAGE_PREFIX: Final = "note "
REPLY_PREFIX: Final = "You said: "
CANARY_CHARACTERS: Final = 24

# A stream is judged by the one operation that reads it last: each kind of read has its own.
MESSAGES: Final = "messages"
REPLIES: Final = "replies"
EVENTS: Final = "events"
TOOL_EVENTS: Final = "tool-events"
THOUGHTS: Final = "thoughts"
THREADS: Final = "threads"

REVOCATION_BOUND_SECONDS: Final = 2.0
USAGE_LAG_SECONDS: Final = 5.0

_INPUT_CHARACTERS: Final = len(MESSAGE_PREFIX) + CANARY_CHARACTERS
_USAGE: Final = {
    "runs": 1,
    "input-characters": _INPUT_CHARACTERS,
    "output-characters": len(REPLY_PREFIX) + _INPUT_CHARACTERS,
}
_DELIVERIES: Final = (MESSAGES, REPLIES, EVENTS, TOOL_EVENTS, THOUGHTS)

# A tenant's totals are figures of the tenant: no user's content, no user's identifiers.
_TOTALS: Final = (
    AllowancePlan(ObservationClass.AGGREGATE, Level.TENANT),
    AllowancePlan(ObservationClass.IDENTIFIER, Level.TENANT, Reach.AT),
)
# A user may see the names and identifiers of all her threads in one list.
_LIST: Final = tuple(AllowancePlan(each, Level.USER) for each in ObservationClass)


def _write(name: str, channel: Channel, weight: int) -> OperationPlan:
    return OperationPlan(
        name,
        channel,
        OperationKind.WRITE,
        Level.THREAD,
        weight=weight,
        delivers_to=_DELIVERIES,
        contributes=_USAGE,
    )


def _read(name: str, channel: Channel, stream: str) -> OperationPlan:
    return OperationPlan(name, channel, OperationKind.READ, Level.THREAD, weight=3, reads=stream)


def _own(name: str, channel: Channel, kind: OperationKind, stream: str = "") -> OperationPlan:
    """An operation that addresses nothing but its caller: nobody else's can be asked for."""
    return OperationPlan(name, channel, kind, Level.USER, reads=stream, allowed=_LIST, probed=False)


OPERATIONS: Final = (
    OperationPlan(
        "create_thread",
        Channel.HTTP,
        OperationKind.CREATE,
        Level.THREAD,
        delivers_to=(THREADS,),
        probed=False,
    ),
    _write("send_message", Channel.HTTP, 4),
    _write("send_message_grpc", Channel.GRPC, 3),
    _write("request_agent", Channel.WEBSOCKET, 4),
    _read("messages", Channel.HTTP, MESSAGES),
    _read("messages_grpc", Channel.GRPC, REPLIES),
    _read("events", Channel.HTTP, EVENTS),
    _read("events_grpc", Channel.GRPC, TOOL_EVENTS),
    _read("resume", Channel.WEBSOCKET, THOUGHTS),
    _own("threads", Channel.HTTP, OperationKind.READ, THREADS),
    _own("threads_grpc", Channel.GRPC, OperationKind.READ),
    OperationPlan("open_session", Channel.HTTP, OperationKind.READ, Level.THREAD, weight=3),
    OperationPlan("thread_usage", Channel.HTTP, OperationKind.AGGREGATE, Level.THREAD),
    OperationPlan("thread_usage_grpc", Channel.GRPC, OperationKind.AGGREGATE, Level.THREAD),
    OperationPlan("thread_usage_direct", Channel.HTTP, OperationKind.AGGREGATE, Level.THREAD),
    OperationPlan(
        "tenant_totals",
        Channel.HTTP,
        OperationKind.AGGREGATE,
        Level.TENANT,
        weight=2,
        role=ADMINISTRATOR,
        allowed=_TOTALS,
        probed=False,
    ),
    _own("log_out", Channel.HTTP, OperationKind.REVOKE),
)

SUBSCRIPTIONS: Final = (
    SubscriptionPlan("events", Channel.WEBSOCKET, Level.THREAD, stream=EVENTS, gapless=True),
)

CHANNELS: Final = (
    ChannelPlan(Channel.HTTP, minimum_observations=50, minimum_canaries=50),
    ChannelPlan(Channel.GRPC, Expectation.CONTENT, minimum_observations=20, minimum_canaries=20),
    ChannelPlan(Channel.WEBSOCKET, minimum_observations=50, minimum_canaries=50),
    ChannelPlan(Channel.REDIS_KEYS, Expectation.CONTENT),
    ChannelPlan(Channel.REDIS_PUBSUB, minimum_observations=20, minimum_canaries=20),
    ChannelPlan(Channel.REDIS_STREAMS, minimum_observations=20, minimum_canaries=20),
    ChannelPlan(Channel.POSTGRES_ROWS, minimum_observations=100, minimum_canaries=100),
    ChannelPlan(Channel.LOGS, minimum_observations=20),
    ChannelPlan(Channel.TRACES, minimum_observations=100),
    ChannelPlan(Channel.METRICS, minimum_observations=100),
    ChannelPlan(Channel.ERRORS, minimum_observations=5),
    ChannelPlan(Channel.AUDIT_TRAIL, minimum_observations=20),
)


def describe(configuration: Mapping[str, str]) -> SystemDescription:
    """The whole system, with what a reader of the report should know of how it ran."""
    return SystemDescription(
        name="watertight",
        channels=CHANNELS,
        operations=OPERATIONS,
        subscriptions=SUBSCRIPTIONS,
        measures=tuple(
            MeasurePlan(name, unit, USAGE_LAG_SECONDS)
            for name, unit in (
                ("runs", "runs"),
                ("input-characters", "characters"),
                ("output-characters", "characters"),
            )
        ),
        revocation_bound_seconds=REVOCATION_BOUND_SECONDS,
        grants={
            MEMBER: tuple(sorted(MEMBER_SCOPES)),
            ADMINISTRATOR: tuple(sorted(ADMINISTRATOR_SCOPES)),
        },
        configuration=configuration,
    )
