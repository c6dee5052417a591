"""Requests that are refused, each in another way: what was asked, of whom, and what came back."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from contracts.context import ThreadId
from integration.clients.analytics import AnalyticsClient
from integration.clients.answers import Answer
from integration.clients.backend import BackendClient
from integration.clients.backend_grpc import BackendGrpcClient
from integration.clients.connections import HttpConnections
from integration.clients.websocket import WebSocketTestClient
from integration.environment import Environment
from integration.fixtures.principals import Person
from integration.propagation.journeys import Entry, Trace, told_by

_SEND: Final = "POST /threads/{thread_id}/messages"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What must be found of a refusal, besides its trace and the request that it told.

    Args:
        process: who was asked.
        channel: over which, as figures name it.
        operation: what was asked, as figures and lines name it.
        span: the operation's span.
        code: the typed error.
        status: the same as figures of answers name it: HTTP's number, else the code.
        known: whether the service knows who asks.
        trail: the row that says it; nothing is kept of what the boundary refuses.
        besides: what is left besides: of what was done before it was refused, or of a failure.
    """

    process: str
    channel: Entry
    operation: str
    span: str
    code: str
    status: str
    ask: Callable[[Trace], Awaitable[object]]
    known: bool = True
    trail: str | None = None
    besides: frozenset[tuple[str, str, str]] = frozenset()

    def told(self, answer: Answer) -> set[str]:
        """The request that the answer names, in each place where it names one."""
        if self.channel is Entry.WEBSOCKET:
            return {str(json.loads(answer.body)["request_id"])}
        if self.channel is Entry.HTTP:
            return {str(json.loads(answer.body)["error"]["request_id"]), told_by(answer)}
        return {told_by(answer)}


def refusals(
    environment: Environment, person: Person, mine: ThreadId, theirs: ThreadId
) -> Mapping[str, Refusal]:
    """One of each kind, by what is wrong with it.

    Args:
        person: a member, who asks.
        mine: a thread of hers.
        theirs: another's thread.
    """
    url, target = environment.backend_url, environment.backend_grpc_targets[0]
    service = "watertight.backend.v1.BackendService"

    async def post(trace: Trace, thread_id: ThreadId, token: str, body: object) -> object:
        async with HttpConnections(url) as http:
            path = f"/threads/{thread_id}/messages"
            return await http.request(
                "POST", path, token=token, body=body, traceparent=trace.parent
            )

    async def totals(trace: Trace) -> object:
        async with AnalyticsClient(environment.analytics_url, token=person.token) as analytics:
            return await analytics.tenant_totals(traceparent=trace.parent)

    async def usage(trace: Trace) -> object:
        async with BackendClient(url, token=person.token) as backend:
            return await backend.thread_usage(mine, traceparent=trace.parent)

    async def messages(trace: Trace, token: str) -> object:
        async with BackendGrpcClient(target, token=token) as backend:
            return await backend.messages(theirs, traceparent=trace.parent)

    async def frame(trace: Trace) -> object:
        async with WebSocketTestClient(token=person.token, base_url=url) as socket:
            return await socket.subscribe(theirs, traceparent=trace.parent)

    def sent(ask: Callable[[Trace], Awaitable[object]], code: str, status: str) -> Refusal:
        return Refusal(
            process="backend-1",
            channel=Entry.HTTP,
            operation=_SEND,
            span=_SEND,
            code=code,
            status=status,
            ask=ask,
            known=code != "UNAUTHENTICATED",
            trail="messages.send" if code == "NOT_FOUND" else None,
        )

    def asked(token: str, code: str) -> Refusal:
        return Refusal(
            process="backend-1",
            channel=Entry.GRPC,
            operation=f"{service}/ListMessages",
            span=f"{service}/ListMessages",
            code=code,
            status=code,
            ask=lambda trace: messages(trace, token),
            known=code != "UNAUTHENTICATED",
            trail="messages.list" if code == "NOT_FOUND" else None,
        )

    hello = {"message": "hello"}
    return {
        "another's thread": sent(
            lambda trace: post(trace, theirs, person.token, hello), "NOT_FOUND", "404"
        ),
        "a bad token": sent(
            lambda trace: post(trace, mine, f"{person.token}x", hello), "UNAUTHENTICATED", "401"
        ),
        "a bad body": sent(
            lambda trace: post(trace, mine, person.token, {}), "INVALID_ARGUMENT", "400"
        ),
        "another's thread over gRPC": asked(person.token, "NOT_FOUND"),
        "a bad token over gRPC": asked(f"{person.token}x", "UNAUTHENTICATED"),
        "a scope too few": Refusal(
            process="analytics",
            channel=Entry.HTTP,
            operation="GET /usage/totals",
            span="GET /usage/totals",
            code="PERMISSION_DENIED",
            status="403",
            ask=totals,
        ),
        "another's thread over WebSocket": Refusal(
            process="backend-1",
            channel=Entry.WEBSOCKET,
            operation="subscribe",
            span="websocket subscribe",
            code="NOT_FOUND",
            status="NOT_FOUND",
            ask=frame,
            trail="threads.subscribe",
        ),
        "nobody at the next hop": Refusal(
            process="backend-1",
            channel=Entry.HTTP,
            operation="GET /threads/{thread_id}/usage",
            span="GET /threads/{thread_id}/usage",
            code="UNAVAILABLE",
            status="503",
            ask=usage,
            besides=frozenset(
                {
                    ("backend", "log", "failed"),
                    ("backend", "trail", "usage.read"),
                    ("auth", "log", "token exchanged"),
                    ("auth", "log", "answered"),
                    ("auth", "span", "watertight.auth.v1.AuthService/ExchangeToken"),
                    ("auth", "trail", "tokens.exchange"),
                }
            ),
        ),
    }


KINDS: Final = (
    "another's thread",
    "a bad token",
    "a bad body",
    "another's thread over gRPC",
    "a bad token over gRPC",
    "a scope too few",
    "another's thread over WebSocket",
    "nobody at the next hop",
)
"""What `refusals` has one of."""
