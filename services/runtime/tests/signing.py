"""Tokens as auth signs them, and as forgers do, for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, OKPKey

NOW = 1_800_000_000
ACCESS: dict[str, Any] = {
    "iss": "watertight-auth",
    "aud": "watertight",
    "sub": "user-1",
    "tid": "tenant-1",
    "sid": "session-1",
    "scope": "threads:read usage:read",
    "iat": NOW - 10,
    "exp": NOW + 290,
    "jti": "j",
}
TRANSACTION: dict[str, Any] = {
    "iss": "watertight-auth",
    "aud": "analytics",
    "sub": "user-1",
    "scope": "usage:read",
    "iat": NOW - 10,
    "exp": NOW + 50,
    "txn": "request-1",
    "req_wl": "backend",
    "tctx": {"tenant_id": "tenant-1", "session_id": "session-1", "thread_id": "thread-1"},
}


class Signer:
    """A key, as auth has one."""

    def __init__(self, kid: str = "key-1") -> None:
        self.key = OKPKey.generate_key("Ed25519", parameters={"kid": kid}, private=True)
        self.fetches = 0

    async def fetch(self) -> str:
        """The public keys; counted."""
        self.fetches += 1
        return json.dumps(KeySet([self.key]).as_dict(private=False))

    def access(self, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """An access token; None removes a claim."""
        return self._sign({"typ": "at+jwt", **(header or {})}, {**ACCESS, **claims})

    def transaction(self, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """A transaction token; None removes a claim."""
        return self._sign({"typ": "txntoken+jwt", **(header or {})}, {**TRANSACTION, **claims})

    def _sign(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
        kept = {name: value for name, value in claims.items() if value is not None}
        full = {"alg": "Ed25519", "kid": self.key.kid, **header}
        return jwt.encode(full, kept, self.key, algorithms=["Ed25519", "EdDSA"])


def signed_by_public_key(signer: Signer) -> str:
    """The classic forgery: HMAC, with the public key as its secret (RFC 8725, section 2.1)."""
    public = signer.key.as_dict(private=False)["x"]
    header = {"alg": "HS256", "typ": "at+jwt", "kid": signer.key.kid}
    return jwt.encode(header, ACCESS, OctKey.import_key(str(public)), algorithms=["HS256"])
