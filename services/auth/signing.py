"""Makes access and transaction tokens, under auth's one private key."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey

from contracts.context import (
    Principal,
    RequestId,
    RunId,
    Scope,
    SessionId,
    TenantId,
    ThreadId,
    UserId,
)
from services.runtime.tokens import (
    ACCESS_AUDIENCE,
    ACCESS_TYPE,
    ALGORITHMS,
    ISSUER,
    TRANSACTION_TYPE,
)

_ALGORITHM: Final = ALGORITHMS[0]


@dataclass(frozen=True, slots=True)
class TransactionRequest:
    """What a workload asks a transaction token for."""

    audience: str
    workload: str
    transaction_id: RequestId
    scopes: frozenset[Scope]
    thread_id: ThreadId | None
    run_id: RunId | None


class TokenIssuer:
    """Signs tokens. The private key is in no log, error or representation."""

    def __init__(self, key: OKPKey) -> None:
        self._key = key
        public = KeySet([key]).as_dict(private=False)
        self.jwks: dict[str, object] = json.loads(json.dumps(public))
        """The public keys, as a JWK Set (RFC 7517, section 5)."""

    def access_token(
        self,
        tenant_id: TenantId,
        user_id: UserId,
        session_id: SessionId,
        scopes: frozenset[Scope],
        *,
        now: datetime,
        expires_at: datetime,
    ) -> str:
        """A token for the edges (RFC 9068)."""
        claims = {
            "aud": ACCESS_AUDIENCE,
            "sub": user_id,
            "tid": tenant_id,
            "sid": session_id,
            "scope": _words(scopes),
            "iat": int(now.timestamp()),
            "exp": int(expires_at.timestamp()),
            "jti": uuid.uuid4().hex,
        }
        return self._sign(ACCESS_TYPE, claims)

    def transaction_token(
        self,
        principal: Principal,
        request: TransactionRequest,
        *,
        now: datetime,
        expires_at: datetime,
    ) -> str:
        """A token for one hop (draft-ietf-oauth-transaction-tokens, section 5)."""
        place: dict[str, str] = {
            "tenant_id": principal.tenant_id,
            "session_id": principal.session_id,
        }
        if request.thread_id is not None:
            place["thread_id"] = request.thread_id
        if request.run_id is not None:
            place["run_id"] = request.run_id
        claims = {
            "aud": request.audience,
            "iat": int(now.timestamp()),
            "exp": int(expires_at.timestamp()),
            "txn": request.transaction_id,
            "sub": principal.user_id,
            "scope": _words(request.scopes),
            "req_wl": request.workload,
            "tctx": place,
        }
        return self._sign(TRANSACTION_TYPE, claims)

    def _sign(self, kind: str, claims: dict[str, object]) -> str:
        header = {"alg": _ALGORITHM, "typ": kind, "kid": self._key.kid}
        return jwt.encode(header, {"iss": ISSUER, **claims}, self._key, algorithms=ALGORITHMS)


def _words(scopes: frozenset[Scope]) -> str:
    return " ".join(sorted(scopes))
