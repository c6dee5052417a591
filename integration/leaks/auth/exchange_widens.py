"""A transaction token may do all that an administrator may, whoever it is for."""

from __future__ import annotations

import dataclasses
from datetime import datetime

from contracts.context import ADMINISTRATOR_SCOPES, Principal
from services.auth.signing import TokenIssuer, TransactionRequest

_sign = TokenIssuer.transaction_token


def _for_everything(
    issuer: TokenIssuer,
    principal: Principal,
    request: TransactionRequest,
    *,
    now: datetime,
    expires_at: datetime,
) -> str:
    wider = dataclasses.replace(request, scopes=ADMINISTRATOR_SCOPES)
    return _sign(issuer, principal, wider, now=now, expires_at=expires_at)


def install() -> None:
    """Replaces `TokenIssuer.transaction_token`."""
    TokenIssuer.transaction_token = _for_everything  # type: ignore[method-assign,assignment]
