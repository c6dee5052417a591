"""Bad contexts and tokens between services, as real as can be: by what auth itself has given."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
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
from integration.security.refusals import (
    INVALID_ARGUMENT,
    PERMISSION_DENIED,
    UNAUTHENTICATED,
    Bad,
    Case,
    Channel,
    Fault,
    cases_of,
)
from integration.security.refusals_at_edges import TOO_LONG
from integration.security.sending import Send, bearer, over_grpc
from integration.security.stage import HOUR, Stage
from services.runtime.workload import make_workload_token
from watertight.auth.v1.auth_pb2 import ExchangeTokenRequest

RECORD_USAGE: Final = "/watertight.analytics.v1.AnalyticsService/RecordUsage"
EXCHANGE_TOKEN: Final = "/watertight.auth.v1.AuthService/ExchangeToken"  # noqa: S105 -- a path


async def over_hops(stage: Stage) -> list[Case]:
    """Bad transaction tokens and contexts at analytics' gRPC interface."""
    context = stage.context(stage.mine)
    token = await stage.exchanged(stage.mine, context)
    encoded = encode(context)
    token_pair, context_pair = (TRANSACTION_TOKEN_KEY, token), (CONTEXT_KEY, encoded)
    bearer_pair = bearer(stage.mine.access_token)

    def malformed_context(detail: str, content: bytes) -> Bad:
        code = INVALID_ARGUMENT if content else UNAUTHENTICATED
        return Bad(Fault.MALFORMED, detail, code, [token_pair, (CONTEXT_KEY, content)])

    bad = [
        Bad(Fault.ABSENT, "nothing", UNAUTHENTICATED, []),
        Bad(Fault.ABSENT, "the token alone", UNAUTHENTICATED, [token_pair]),
        Bad(Fault.ABSENT, "the context alone", UNAUTHENTICATED, [context_pair]),
        Bad(Fault.ABSENT, "Bearer in their place", UNAUTHENTICATED, [bearer_pair]),
        Bad(Fault.MALFORMED, "a token that is none", UNAUTHENTICATED, write_hop(context, MARKER)),
        malformed_context("no message", MARKER.encode()),
        malformed_context("cut", encoded[:-3]),
        malformed_context("an empty context", b""),
        Bad(
            Fault.DUPLICATED, "the token", INVALID_ARGUMENT, [token_pair, token_pair, context_pair]
        ),
        Bad(
            Fault.DUPLICATED,
            "the context",
            INVALID_ARGUMENT,
            [token_pair, context_pair, context_pair],
        ),
        Bad(
            Fault.DUPLICATED,
            "the context within its bytes",
            INVALID_ARGUMENT,
            [token_pair, (CONTEXT_KEY, encoded * 2)],
        ),
        Bad(Fault.OVERSIZED, "the token", INVALID_ARGUMENT, write_hop(context, "a" * TOO_LONG)),
        Bad(
            Fault.OVERSIZED,
            "the context",
            INVALID_ARGUMENT,
            [token_pair, (CONTEXT_KEY, encoded * 10)],
        ),
        *_expired(stage, token),
        *await _widened(stage, token),
        *await _spliced(stage, token),
    ]
    target = stage.environment.analytics_grpc_target
    send = over_grpc(target, RECORD_USAGE, stage.usage_message())
    return list(cases_of(Channel.HOP, "analytics", send, bad))


def _expired(stage: Stage, token: str) -> Iterator[Bad]:
    context = stage.context(stage.mine)
    past = int((datetime.now(UTC) - HOUR).timestamp())
    old = forged(token, stage.key, iat=past - 20, exp=past)
    stale = dataclasses.replace(
        context, issued_at=context.issued_at - HOUR, expires_at=context.issued_at - HOUR / 2
    )
    yield Bad(Fault.EXPIRED, "the token", UNAUTHENTICATED, write_hop(context, old))
    yield Bad(Fault.EXPIRED, "the context", UNAUTHENTICATED, write_hop(stale, token))


async def _widened(stage: Stage, token: str) -> list[Bad]:
    context, other = stage.context(stage.mine), stage.context(stage.theirs)
    reading = stage.context(stage.mine, Scope.USAGE_READ)
    read_only = await stage.exchanged(stage.mine, reading)
    wider = {
        "another tenant": dataclasses.replace(context, tenant_id=other.tenant_id),
        "another user": dataclasses.replace(context, user_id=other.user_id),
        "another thread": dataclasses.replace(context, thread_id=ThreadId("thread-2")),
        "no thread": dataclasses.replace(context, thread_id=None, run_id=None),
        "another run": dataclasses.replace(context, run_id=RunId("run-2")),
        "a scope more": dataclasses.replace(context, scopes=context.scopes | {Scope.TENANT_USAGE}),
        "a later end": dataclasses.replace(context, expires_at=context.expires_at + HOUR),
    }
    return [
        *(
            Bad(Fault.WIDENED, what, PERMISSION_DENIED, write_hop(each, token))
            for what, each in wider.items()
        ),
        Bad(Fault.WIDENED, "a scope is lacking", PERMISSION_DENIED, write_hop(reading, read_only)),
    ]


async def _spliced(stage: Stage, token: str) -> list[Bad]:
    context, other = stage.context(stage.mine), stage.context(stage.theirs)
    others = await stage.exchanged(stage.theirs, other)
    elsewhere = await stage.exchanged(stage.mine, context, "backend")
    mine, theirs = (TRANSACTION_TOKEN_KEY, token), (TRANSACTION_TOKEN_KEY, others)
    access = stage.mine.access_token
    return [
        Bad(
            Fault.SPLICED,
            "my context beside their token",
            PERMISSION_DENIED,
            write_hop(context, others),
        ),
        Bad(
            Fault.SPLICED,
            "their context beside my token",
            PERMISSION_DENIED,
            write_hop(other, token),
        ),
        Bad(
            Fault.SPLICED,
            "a token of two",
            UNAUTHENTICATED,
            write_hop(context, spliced(token, others)),
        ),
        Bad(
            Fault.DUPLICATED,
            "my token and theirs",
            INVALID_ARGUMENT,
            [mine, theirs, (CONTEXT_KEY, encode(context))],
        ),
        Bad(
            Fault.ELSEWHERE,
            "a token for the backend",
            UNAUTHENTICATED,
            write_hop(context, elsewhere),
        ),
        Bad(Fault.ELSEWHERE, "an access token", UNAUTHENTICATED, write_hop(context, access)),
    ]


def over_workloads(stage: Stage) -> Iterator[Case]:
    """Bad workload tokens at auth, and bad access tokens that a workload brings."""
    secret = stage.environment.credentials.workload_secrets["backend"]
    good, now = stage.mine.access_token, datetime.now(UTC)
    token = make_workload_token("backend", secret, now)
    old = make_workload_token("backend", secret, now - HOUR)
    anothers = make_workload_token("analytics", secret, now)

    def bad(fault: Fault, detail: str, code: str, *tokens: str) -> Bad:
        return Bad(fault, detail, code, [(WORKLOAD_TOKEN_KEY, each) for each in tokens])

    workloads = [
        bad(Fault.ABSENT, "nothing", UNAUTHENTICATED),
        Bad(Fault.ABSENT, "Bearer in its place", UNAUTHENTICATED, [bearer(good)]),
        bad(Fault.MALFORMED, "no JWT", UNAUTHENTICATED, MARKER),
        bad(Fault.EXPIRED, "an hour ago", UNAUTHENTICATED, old),
        bad(Fault.SPLICED, "another's name under my secret", UNAUTHENTICATED, anothers),
        bad(Fault.SPLICED, "a user's signature", UNAUTHENTICATED, spliced(token, good)),
        bad(Fault.DUPLICATED, "mine twice", INVALID_ARGUMENT, token, token),
        bad(Fault.OVERSIZED, "a long word", INVALID_ARGUMENT, "a" * TOO_LONG),
        bad(Fault.ELSEWHERE, "a user's access token", UNAUTHENTICATED, good),
    ]
    yield from cases_of(Channel.WORKLOAD, "auth", _exchange(stage, good), workloads)
    theirs = stage.theirs.access_token
    again = [(WORKLOAD_TOKEN_KEY, token)]
    subjects = (
        (Fault.ABSENT, "nothing", UNAUTHENTICATED, _exchange(stage, "")),
        (Fault.MALFORMED, "no JWT", UNAUTHENTICATED, _exchange(stage, MARKER)),
        (Fault.EXPIRED, "an hour ago", UNAUTHENTICATED, _exchange(stage, stage.expired)),
        (Fault.SPLICED, "of two", UNAUTHENTICATED, _exchange(stage, spliced(good, theirs))),
        (Fault.OVERSIZED, "a long word", UNAUTHENTICATED, _exchange(stage, "a" * TOO_LONG)),
        (Fault.ELSEWHERE, "a workload's token", UNAUTHENTICATED, _exchange(stage, token)),
        (Fault.ELSEWHERE, "for nobody's ears", INVALID_ARGUMENT, _exchange(stage, good, MARKER)),
        (
            Fault.WIDENED,
            "a scope of administrators",
            PERMISSION_DENIED,
            _exchange(stage, good, "analytics", Scope.TENANT_USAGE),
        ),
    )
    for fault, detail, code, send in subjects:
        bads = [Bad(fault, detail, code, again)]
        yield from cases_of(Channel.EXCHANGE, "auth", send, bads)


def _exchange(stage: Stage, subject: str, audience: str = "analytics", *scopes: str) -> Send:
    asked = ExchangeTokenRequest(
        subject_token=subject, audience=audience, scopes=scopes, transaction_id="request-1"
    )
    target = stage.environment.auth_grpc_target
    return over_grpc(target, EXCHANGE_TOKEN, asked.SerializeToString())
