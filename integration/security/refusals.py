"""What may be wrong with a context, on every channel where one travels, as a table.

Each case is a whole request that would be served, and would change something, if only that one
thing about it were not looked at. Where a fault cannot occur on a channel the table says why, so
that nothing is left out by forgetting.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from functools import partial
from types import MappingProxyType
from typing import Final

from integration.security.sending import Pairs, Said, Send

UNAUTHENTICATED: Final = "UNAUTHENTICATED"
PERMISSION_DENIED: Final = "PERMISSION_DENIED"
INVALID_ARGUMENT: Final = "INVALID_ARGUMENT"


@unique
class Fault(StrEnum):
    """What is wrong with a context or a credential."""

    ABSENT = "absent"
    MALFORMED = "malformed"
    EXPIRED = "expired"
    WIDENED = "widened"
    SPLICED = "spliced"
    DUPLICATED = "duplicated"
    OVERSIZED = "oversized"
    ELSEWHERE = "for elsewhere"
    """Good, and made for another receiver, another boundary or another site."""


@unique
class Channel(StrEnum):
    """A way in on which a context, or what one is made of, travels."""

    HTTP_BACKEND = "HTTP to the backend"
    HTTP_ANALYTICS = "HTTP to analytics"
    HTTP_AUTH = "HTTP to auth"
    GRPC_BACKEND = "gRPC to the backend"
    HOP = "hop to analytics"
    WORKLOAD = "workload to auth"
    EXCHANGE = "token in an exchange"
    WEBSOCKET = "WebSocket, first frame"
    TICKET = "WebSocket, ticket"
    STREAM = "stream entry"


@dataclass(frozen=True, slots=True)
class Case:
    """One request that must be refused.

    `asked` is the process that it is sent to, `code` what it must be answered with: a gRPC status
    (HTTP tells it in its error), a close code, or HTTP's status before a WebSocket is accepted.
    `leaves` is all that it may do to datastores, as `Effects.touched` says it: nothing, but where a
    credential can only be known by looking for it.
    """

    channel: Channel
    fault: Fault
    detail: str
    asked: str
    code: str
    send: Callable[[], Awaitable[Said]]
    leaves: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """In words."""
        return f"{self.channel}: {self.fault}, {self.detail}"


@dataclass(frozen=True, slots=True)
class Bad:
    """Headers or metadata that must be refused, wherever they are sent."""

    fault: Fault
    detail: str
    code: str
    pairs: Pairs


def cases_of(channel: Channel, asked: str, send: Send, bad: Sequence[Bad]) -> Iterable[Case]:
    """A case for each set of headers or metadata."""
    for each in bad:
        request = partial(send, each.pairs)
        yield Case(channel, each.fault, each.detail, asked, each.code, request)


CANNOT_OCCUR: Final[Mapping[tuple[Channel, Fault], str]] = MappingProxyType(
    {
        (Channel.WORKLOAD, Fault.WIDENED): "a workload token says a name, and nothing to widen",
        (Channel.EXCHANGE, Fault.DUPLICATED): "protobuf takes the last of a field's values",
        (Channel.TICKET, Fault.ABSENT): "without a ticket the first frame is asked for",
        (
            Channel.TICKET,
            Fault.WIDENED,
        ): "a ticket is a random name; what it admits auth has signed",
        (Channel.STREAM, Fault.ELSEWHERE): "entries carry no token and name no receiver",
    }
)
"""What no request can do, by the channel and the fault, with the reason."""


def unfilled(cases: Iterable[Case]) -> list[str]:
    """The places of the table that have neither a case nor a reason, or have both."""
    filled = {(case.channel, case.fault) for case in cases}
    places = {(channel, fault) for channel in Channel for fault in Fault}
    neither = places - filled - CANNOT_OCCUR.keys()
    both = filled & CANNOT_OCCUR.keys()
    return sorted(
        [f"{channel}: {fault} is not tried" for channel, fault in neither]
        + [f"{channel}: {fault} is tried, and said to be impossible" for channel, fault in both]
    )
