"""Requests that must be refused before anything is touched, on every channel.

Absent, malformed, expired, widened, spliced, duplicated and oversized: whole requests that would be
served, and would change something, if only that one thing about them were not looked at.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

from contracts.context import RunId, Scope, ThreadId
from contracts.context.carriers.hop import (
    CONTEXT_KEY,
    TRANSACTION_TOKEN_KEY,
    WORKLOAD_TOKEN_KEY,
    write_hop,
)
from contracts.context.message import encode
from integration.security.forgeries import forged, spliced
from integration.security.inputs import MARKER
from integration.security.sending import (
    Pairs,
    Send,
    bearer,
    over_grpc,
    over_http,
    over_websocket,
)
from integration.security.stage import HOUR, Stage
from services.runtime.workload import make_workload_token
from watertight.auth.v1.auth_pb2 import ExchangeTokenRequest
from watertight.backend.v1.backend_pb2 import SendMessageRequest

RECORD_USAGE: Final = "/watertight.analytics.v1.AnalyticsService/RecordUsage"
SEND_MESSAGE: Final = "/watertight.backend.v1.BackendService/SendMessage"
_EXCHANGE: Final = "/watertight.auth.v1.AuthService/ExchangeToken"
# Over the limit of a credential, and within that of all metadata.
_TOO_LONG: Final = 5_000


@dataclass(frozen=True, slots=True)
class Case:
    """One request that must be refused: to which process, and what is wrong with it."""

    asked: str
    what: str
    send: Callable[[], Awaitable[str]]


def _sent(process: str, way: str, send: Send, cases: Sequence[tuple[str, Pairs]]) -> Iterator[Case]:
    """A case for each set of headers or metadata."""
    for what, pairs in cases:
        yield Case(process, f"{way}: {what}", partial(send, pairs))


def _bad_bearers(stage: Stage, hop: str) -> list[tuple[str, Pairs]]:
    """Headers that are no good credential at an edge."""
    good = stage.mine.access_token
    return [
        ("absent", []),
        ("absent, a hop's in its place", list(write_hop(stage.context(stage.mine), hop))[:1]),
        ("malformed, empty", [("authorization", "Bearer")]),
        ("malformed, no JWT", [bearer(MARKER)]),
        ("malformed, no signature", [bearer(good.rpartition(".")[0] + ".")]),
        ("malformed, other scheme", [("authorization", f"Basic {good}")]),
        ("malformed, no subject", [bearer(forged(good, stage.key, sub=None))]),
        ("expired", [bearer(stage.expired)]),
        ("not yet valid", [bearer(forged(good, stage.key, iat=2**33, exp=2**33 + 1))]),
        ("another audience", [bearer(forged(good, stage.key, aud="elsewhere"))]),
        ("another issuer", [bearer(forged(good, stage.key, iss="elsewhere"))]),
        ("a hop's token", [bearer(hop)]),
        ("widened, a scope that does not exist", [bearer(forged(good, stage.key, scope="all"))]),
        ("spliced", [bearer(spliced(good, stage.theirs.access_token))]),
        ("spliced, theirs", [bearer(spliced(stage.theirs.access_token, good))]),
        ("duplicated", [bearer(good), bearer(good)]),
        ("duplicated, theirs", [bearer(good), bearer(stage.theirs.access_token)]),
        ("oversized", [bearer("a" * _TOO_LONG)]),
    ]


def over_edges(stage: Stage, hop: str) -> Iterator[Case]:
    """Bad credentials at every service's HTTP, and at the backend's gRPC interface."""
    environment, thread_id = stage.environment, stage.thread_id
    bad = _bad_bearers(stage, hop)
    narrow = forged(stage.mine.access_token, stage.key, scope="usage:write")
    lacking = [("widened, a scope is lacking", [bearer(narrow)])]
    body = {"message": "hello"}
    messages = over_http(environment.backend_url, "POST", f"/threads/{thread_id}/messages", body)
    usage = over_http(environment.analytics_url, "GET", f"/usage/threads/{thread_id}")
    account = over_http(environment.auth_url, "GET", "/users/me")
    message = SendMessageRequest(thread_id=thread_id, message="hello").SerializeToString()
    method = over_grpc(environment.backend_grpc_targets[0], SEND_MESSAGE, message)
    yield from _sent("backend-1", "HTTP to the backend", messages, [*bad, *lacking])
    yield from _sent("backend-1", "gRPC to the backend", method, [*bad, *lacking])
    yield from _sent("analytics", "HTTP to analytics", usage, [*bad, *lacking])
    # What its scopes allow auth asks only of a session that its own table says lives.
    yield from _sent("auth", "HTTP to auth", account, bad)


async def over_hops(stage: Stage) -> list[Case]:
    """Bad transaction tokens and contexts at analytics' gRPC interface, as real as can be."""
    context = stage.context(stage.mine)
    token = await stage.exchanged(stage.mine, context)
    other = stage.context(stage.theirs)
    others = await stage.exchanged(stage.theirs, other)
    elsewhere = await stage.exchanged(stage.mine, context, "backend")
    reading = stage.context(stage.mine, Scope.USAGE_READ)
    read_only = await stage.exchanged(stage.mine, reading)
    past = int((datetime.now(UTC) - HOUR).timestamp())
    old = forged(token, stage.key, iat=past - 20, exp=past)
    stale = dataclasses.replace(
        context, issued_at=context.issued_at - HOUR, expires_at=context.issued_at - HOUR / 2
    )
    wider = {
        "tenant": dataclasses.replace(context, tenant_id=other.tenant_id),
        "user": dataclasses.replace(context, user_id=other.user_id),
        "thread": dataclasses.replace(context, thread_id=ThreadId("thread-2")),
        "no thread": dataclasses.replace(context, thread_id=None, run_id=None),
        "run": dataclasses.replace(context, run_id=RunId("run-2")),
        "scope": dataclasses.replace(context, scopes=context.scopes | {Scope.TENANT_USAGE}),
        "end": dataclasses.replace(context, expires_at=context.expires_at + HOUR),
    }
    encoded = encode(context)
    token_pair, context_pair = (TRANSACTION_TOKEN_KEY, token), (CONTEXT_KEY, encoded)
    bad: list[tuple[str, Pairs]] = [
        ("absent", []),
        ("absent, token alone", [token_pair]),
        ("absent, context alone", [context_pair]),
        ("absent, Bearer in its place", [bearer(stage.mine.access_token)]),
        ("malformed token", write_hop(context, MARKER)),
        ("malformed context", [token_pair, (CONTEXT_KEY, MARKER.encode())]),
        ("malformed context, cut", [token_pair, (CONTEXT_KEY, encoded[:-3])]),
        ("malformed context, empty", [token_pair, (CONTEXT_KEY, b"")]),
        ("expired token", write_hop(context, old)),
        ("expired context", write_hop(stale, token)),
        ("an access token", write_hop(context, stage.mine.access_token)),
        ("another audience", write_hop(context, elsewhere)),
        *((f"widened {what}", write_hop(each, token)) for what, each in wider.items()),
        ("widened, a scope is lacking", write_hop(reading, read_only)),
        ("spliced, my context beside their token", write_hop(context, others)),
        ("spliced, their context beside my token", write_hop(other, token)),
        ("spliced token", write_hop(context, spliced(token, others))),
        ("duplicated token", [token_pair, token_pair, context_pair]),
        ("duplicated token, theirs", [token_pair, (TRANSACTION_TOKEN_KEY, others), context_pair]),
        ("duplicated context", [token_pair, context_pair, context_pair]),
        ("oversized token", write_hop(context, "a" * _TOO_LONG)),
        ("oversized context", [token_pair, (CONTEXT_KEY, encoded * 10)]),
    ]
    target = stage.environment.analytics_grpc_target
    send = over_grpc(target, RECORD_USAGE, stage.usage_message())
    return list(_sent("analytics", "hop to analytics", send, bad))


def over_workloads(stage: Stage) -> Iterator[Case]:
    """Bad workload tokens at auth, and bad access tokens that a workload brings."""
    target = stage.environment.auth_grpc_target
    secret = stage.environment.credentials.workload_secrets["backend"]
    good, now = stage.mine.access_token, datetime.now(UTC)
    token = make_workload_token("backend", secret, now)
    pair = (WORKLOAD_TOKEN_KEY, token)

    def exchange(subject: str, audience: str = "analytics", *scopes: str) -> Send:
        asked = ExchangeTokenRequest(
            subject_token=subject, audience=audience, scopes=scopes, transaction_id="request-1"
        )
        return over_grpc(target, _EXCHANGE, asked.SerializeToString())

    bad: list[tuple[str, Pairs]] = [
        ("absent", []),
        ("absent, Bearer in its place", [bearer(good)]),
        ("malformed", [(WORKLOAD_TOKEN_KEY, MARKER)]),
        ("expired", [(WORKLOAD_TOKEN_KEY, make_workload_token("backend", secret, now - HOUR))]),
        ("another's", [(WORKLOAD_TOKEN_KEY, make_workload_token("analytics", secret, now))]),
        ("spliced", [(WORKLOAD_TOKEN_KEY, spliced(token, good))]),
        ("duplicated", [pair, pair]),
        ("oversized", [(WORKLOAD_TOKEN_KEY, "a" * _TOO_LONG)]),
    ]
    yield from _sent("auth", "workload to auth", exchange(good, "analytics"), bad)
    subjects = {
        "absent subject": exchange(""),
        "malformed subject": exchange(MARKER),
        "expired subject": exchange(stage.expired),
        "spliced subject": exchange(spliced(good, stage.theirs.access_token)),
        "oversized subject": exchange("a" * _TOO_LONG),
        "audience of nobody": exchange(good, MARKER),
        "widened": exchange(good, "analytics", "tenant:usage"),
    }
    for what, send in subjects.items():
        yield from _sent("auth", "workload to auth", send, [(what, [pair])])


def over_websockets(stage: Stage, hop: str) -> Iterator[Case]:
    """Bad first frames, tickets and origins."""
    url, good = stage.environment.backend_url, stage.mine.access_token

    def authenticate(token: str) -> str:
        return json.dumps({"type": "authenticate", "token": token})

    firsts = {
        "absent": json.dumps({"type": "subscribe", "thread_id": stage.thread_id}),
        "malformed frame": MARKER,
        "malformed": authenticate(MARKER),
        "expired": authenticate(stage.expired),
        "a hop's token": authenticate(hop),
        "spliced": authenticate(spliced(good, stage.theirs.access_token)),
        "duplicated": f'{{"type": "authenticate", "token": "{good}", "token": "{good}"}}',
        "oversized": authenticate("a" * 2 * _TOO_LONG),
    }
    for what, first in firsts.items():
        yield Case(
            "backend-1",
            f"WebSocket: {what}",
            partial(over_websocket, url, first),
        )
    queries = {
        "malformed": f"?ticket={MARKER}",
        "an access token": f"?ticket={good}",
        "duplicated": f"?ticket={'a' * 43}&ticket={'a' * 43}",
        "oversized": f"?ticket={'a' * _TOO_LONG}",
    }
    for what, query in queries.items():
        yield Case(
            "backend-1",
            f"WebSocket: ticket, {what}",
            partial(over_websocket, url, None, query),
        )
    yield Case(
        "backend-1",
        "WebSocket: another site's script",
        lambda: over_websocket(url, authenticate(good), origin="https://elsewhere.example"),
    )
