"""A token for a hop lasts as long as such tokens do, whenever its user's ends."""

from __future__ import annotations

from datetime import datetime, timedelta

from contracts.context import Principal
from services.auth.signing import TokenIssuer, TransactionRequest

_LIFE = timedelta(minutes=5)

_issue = TokenIssuer.transaction_token


def _whole_life(
    issuer: TokenIssuer,
    principal: Principal,
    request: TransactionRequest,
    *,
    now: datetime,
    expires_at: datetime,
) -> str:
    return _issue(issuer, principal, request, now=now, expires_at=max(expires_at, now + _LIFE))


def install() -> None:
    """Replaces `TokenIssuer.transaction_token`."""
    TokenIssuer.transaction_token = _whole_life  # type: ignore[method-assign,assignment]
