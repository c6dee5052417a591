"""Bad Bearer tokens, at every service's edge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from contracts.context.carriers.hop import write_hop
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
from integration.security.sending import bearer, over_grpc, over_http
from integration.security.stage import Stage
from watertight.backend.v1.backend_pb2 import SendMessageRequest

SEND_MESSAGE: Final = "/watertight.backend.v1.BackendService/SendMessage"
TOO_LONG: Final = 5_000
"""Over the limit of a credential, and within that of all headers or metadata."""


def bad_bearers(stage: Stage, hop: str) -> list[Bad]:
    """Headers that are no good credential at any edge."""
    good, theirs, key = stage.mine.access_token, stage.theirs.access_token, stage.key
    unknown_scope = forged(good, key, scope="all")
    later = forged(good, key, iat=2**33, exp=2**33 + 1)
    hop_pairs = write_hop(stage.context(stage.mine), hop)
    return [
        Bad(Fault.ABSENT, "nothing", UNAUTHENTICATED, []),
        Bad(Fault.ABSENT, "a hop's credentials in its place", UNAUTHENTICATED, hop_pairs[:1]),
        Bad(Fault.MALFORMED, "empty", INVALID_ARGUMENT, [("authorization", "Bearer")]),
        Bad(Fault.MALFORMED, "no JWT", UNAUTHENTICATED, [bearer(MARKER)]),
        Bad(
            Fault.MALFORMED,
            "no signature",
            UNAUTHENTICATED,
            [bearer(good.rpartition(".")[0] + ".")],
        ),
        Bad(
            Fault.MALFORMED,
            "another scheme",
            INVALID_ARGUMENT,
            [("authorization", f"Basic {good}")],
        ),
        Bad(Fault.MALFORMED, "no subject", UNAUTHENTICATED, [bearer(forged(good, key, sub=None))]),
        Bad(Fault.EXPIRED, "an hour ago", UNAUTHENTICATED, [bearer(stage.expired)]),
        Bad(Fault.EXPIRED, "not yet valid", UNAUTHENTICATED, [bearer(later)]),
        Bad(Fault.WIDENED, "a scope that does not exist", UNAUTHENTICATED, [bearer(unknown_scope)]),
        Bad(Fault.SPLICED, "their signature", UNAUTHENTICATED, [bearer(spliced(good, theirs))]),
        Bad(Fault.SPLICED, "my signature", UNAUTHENTICATED, [bearer(spliced(theirs, good))]),
        Bad(Fault.DUPLICATED, "mine twice", INVALID_ARGUMENT, [bearer(good), bearer(good)]),
        Bad(Fault.DUPLICATED, "mine and theirs", INVALID_ARGUMENT, [bearer(good), bearer(theirs)]),
        Bad(Fault.OVERSIZED, "a long word", INVALID_ARGUMENT, [bearer("a" * TOO_LONG)]),
        Bad(
            Fault.ELSEWHERE,
            "another audience",
            UNAUTHENTICATED,
            [bearer(forged(good, key, aud="elsewhere"))],
        ),
        Bad(
            Fault.ELSEWHERE,
            "another issuer",
            UNAUTHENTICATED,
            [bearer(forged(good, key, iss="elsewhere"))],
        ),
        Bad(Fault.ELSEWHERE, "a hop's token", UNAUTHENTICATED, [bearer(hop)]),
    ]


def over_edges(stage: Stage, hop: str) -> Iterator[Case]:
    """Bad credentials at every service's HTTP, and at the backend's gRPC interface."""
    environment, thread_id = stage.environment, stage.thread_id
    bad = bad_bearers(stage, hop)
    narrow = forged(stage.mine.access_token, stage.key, scope="usage:write")
    lacking = Bad(Fault.WIDENED, "a scope is lacking", PERMISSION_DENIED, [bearer(narrow)])
    body = {"message": "hello"}
    messages = over_http(environment.backend_url, "POST", f"/threads/{thread_id}/messages", body)
    usage = over_http(environment.analytics_url, "GET", f"/usage/threads/{thread_id}")
    account = over_http(environment.auth_url, "GET", "/users/me")
    message = SendMessageRequest(thread_id=thread_id, message="hello").SerializeToString()
    method = over_grpc(environment.backend_grpc_targets[0], SEND_MESSAGE, message)
    yield from cases_of(Channel.HTTP_BACKEND, "backend-1", messages, [*bad, lacking])
    yield from cases_of(Channel.GRPC_BACKEND, "backend-1", method, [*bad, lacking])
    yield from cases_of(Channel.HTTP_ANALYTICS, "analytics", usage, [*bad, lacking])
    # What its scopes allow auth asks only of a session that its own table says lives.
    yield from cases_of(Channel.HTTP_AUTH, "auth", account, bad)
