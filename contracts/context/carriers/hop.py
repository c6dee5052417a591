"""A hop between services: gRPC metadata with a transaction token and the context it speaks for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from contracts.context.carriers.edge import MAXIMUM_TOKEN_BYTES, only
from contracts.context.context import UserExecutionContext
from contracts.context.errors import ContextMalformed, ContextOversized, ContextWidened
from contracts.context.identifiers import RunId, SessionId, TenantId, ThreadId, UserId
from contracts.context.message import decode, encode
from contracts.context.scopes import Scope

TRANSACTION_TOKEN_KEY: Final = "txn-token"  # noqa: S105 -- the name of a metadata key
CONTEXT_KEY: Final = "x-execution-context-bin"
WORKLOAD_TOKEN_KEY: Final = "x-workload-token"  # noqa: S105 -- the name of a metadata key

Metadata = tuple[tuple[str, str | bytes], ...]


def write_hop(context: UserExecutionContext, transaction_token: str) -> Metadata:
    """The metadata of a call under this context."""
    return ((TRANSACTION_TOKEN_KEY, transaction_token), (CONTEXT_KEY, encode(context)))


def read_hop(pairs: Iterable[tuple[str, str | bytes]]) -> tuple[str, UserExecutionContext]:
    """The transaction token, not yet verified, and the context beside it.

    Raises:
        ContextError: either is absent, repeated, too large or unreadable.
    """
    found = list(pairs)
    token = read_token(found, TRANSACTION_TOKEN_KEY)
    encoded = only(CONTEXT_KEY, (value for name, value in found if name == CONTEXT_KEY))
    if isinstance(encoded, str):
        raise ContextMalformed(CONTEXT_KEY, "expected bytes")
    return token, decode(encoded)


def read_token(pairs: Iterable[tuple[str, str | bytes]], key: str) -> str:
    """The one token under a metadata key, not yet verified.

    Raises:
        ContextError: it is absent, repeated, too large or no text.
    """
    token = only(key, (value for name, value in pairs if name == key))
    if isinstance(token, bytes):
        raise ContextMalformed(key, "expected text")
    if len(token) > MAXIMUM_TOKEN_BYTES:
        raise ContextOversized(key, f"expected at most {MAXIMUM_TOKEN_BYTES} bytes")
    return token


@dataclass(frozen=True, slots=True)
class TransactionClaims:
    """What a verified transaction token says (draft-ietf-oauth-transaction-tokens).

    `transaction_id` is `txn`, `workload` is `req_wl`; tenant, session, thread, run are in `tctx`.
    """

    transaction_id: str
    tenant_id: TenantId
    user_id: UserId
    session_id: SessionId
    thread_id: ThreadId | None
    run_id: RunId | None
    scopes: frozenset[Scope]
    workload: str
    expires_at: datetime


def require_same_principal(context: UserExecutionContext, claims: TransactionClaims) -> None:
    """Refuses a context that claims anything that its token does not.

    Raises:
        ContextWidened: another tenant, user, thread or run, a scope more, or a later end.
    """
    for name in ("tenant_id", "user_id", "thread_id", "run_id"):
        if getattr(context, name) != getattr(claims, name):
            raise ContextWidened(name, "the context's differs from its token's")
    if not context.scopes <= claims.scopes:
        raise ContextWidened("scopes", "the context has a scope that its token lacks")
    if context.expires_at > claims.expires_at:
        raise ContextWidened("expires_at", "the context outlives its token")
