"""Access and transaction tokens: verified against auth's public keys, strictly (RFC 8725).

One algorithm, named in full; the type, issuer, audience and times are checked, and a claim that is
absent or of another type is a refusal. What a refusal says does not tell which check failed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Final, Generic, TypeVar, cast

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, KeySetSerialization, OKPKey

from contracts.context import (
    ContextError,
    Principal,
    RunId,
    Scope,
    SessionId,
    TenantId,
    ThreadId,
    UserId,
    parse_scopes,
)
from contracts.context.carriers.edge import MAXIMUM_TOKEN_BYTES
from contracts.context.carriers.hop import TransactionClaims
from services.runtime.errors import Unauthenticated, Unavailable

ISSUER: Final = "watertight-auth"
ACCESS_AUDIENCE: Final = "watertight"
ACCESS_TYPE: Final = "at+jwt"  # RFC 9068, section 2.1
TRANSACTION_TYPE: Final = "txntoken+jwt"
ALGORITHMS: Final = ["Ed25519"]  # RFC 9864; not the polymorphic `EdDSA`

_COMPACT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)  # RFC 7515, section 7.1
_CLOCK_SKEW_SECONDS: Final = 5
_CACHED_TOKENS: Final = 10_000
_REFETCH_SECONDS: Final = 5.0
_KEYS_LIFE_SECONDS: Final = 300.0

V = TypeVar("V", Principal, TransactionClaims)


def require_text(claims: Mapping[str, object], name: str) -> str:
    """A claim that must be a non-empty string.

    Raises:
        Unauthenticated: it is absent or something else.
    """
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise Unauthenticated
    return value


def require_times(claims: Mapping[str, object], now: float) -> datetime:
    """When a token ends: `exp` is later than now, `iat` is not (less 5 s for clocks).

    Raises:
        Unauthenticated: a time is absent, no whole number, or out of order.
    """
    issued, expires = claims.get("iat"), claims.get("exp")
    if type(issued) is not int or type(expires) is not int:
        raise Unauthenticated
    if not issued - _CLOCK_SKEW_SECONDS <= now < expires or issued >= expires:
        raise Unauthenticated
    try:
        return datetime.fromtimestamp(expires, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise Unauthenticated from error


class PublicKeys:
    """Auth's public keys by `kid`, fetched when needed, at most once in 5 s whoever asks.

    A key that auth withdraws is forgotten within five minutes.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[str]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[str, OKPKey] = {}
        self._fetched_at: float | None = None
        self._lock = asyncio.Lock()

    async def get(self, kid: str) -> OKPKey:
        """The key with this identifier.

        Raises:
            Unauthenticated: auth has no such key, or was asked for one moments ago.
            ServiceError: auth does not answer and the keys are too old or absent.
        """
        key = self._keys.get(kid)
        if key is None or self._age() > _KEYS_LIFE_SECONDS:
            async with self._lock:
                if self._may_fetch(kid):
                    await self._refetch()
            key = self._keys.get(kid)
        if key is None:
            raise Unauthenticated
        return key

    def _age(self) -> float:
        return float("inf") if self._fetched_at is None else self._clock() - self._fetched_at

    def _may_fetch(self, kid: str) -> bool:
        age = self._age()
        return age > _KEYS_LIFE_SECONDS or (kid not in self._keys and age > _REFETCH_SECONDS)

    async def _refetch(self) -> None:
        found = _key_set(await self._fetch())
        self._keys = {
            str(key.kid): key for key in found.keys if isinstance(key, OKPKey) and key.kid
        }
        self._fetched_at = self._clock()


class TokenVerifier:
    """Reads verified tokens. What it has verified it remembers, by hash, until it expires."""

    def __init__(
        self,
        fetch_keys: Callable[[], Awaitable[str]],
        *,
        clock: Callable[[], float] = time.time,
        monotonic_clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = PublicKeys(fetch_keys, clock=monotonic_clock)
        self._clock = clock
        self._principals: _Cache[Principal] = _Cache()
        self._transactions: _Cache[TransactionClaims] = _Cache()

    async def verify_access(self, token: str) -> Principal:
        """Whom an access token speaks for. Whether the session still lives is asked elsewhere.

        Raises:
            Unauthenticated: it is not valid, or not an access token.
            ServiceError: auth's keys cannot be had.
        """
        now = self._clock()
        if (known := self._principals.get(token, now)) is not None:
            return known
        claims = await self._claims(token, ACCESS_TYPE, ACCESS_AUDIENCE)
        try:
            principal = Principal(
                tenant_id=TenantId(require_text(claims, "tid")),
                user_id=UserId(require_text(claims, "sub")),
                session_id=SessionId(require_text(claims, "sid")),
                scopes=_scopes(claims),
                expires_at=require_times(claims, now),
            )
        except ContextError as error:
            raise Unauthenticated from error
        self._principals.put(token, principal)
        return principal

    async def verify_transaction(self, token: str, audience: str) -> TransactionClaims:
        """What a transaction token says, to the service that it is for.

        Raises:
            Unauthenticated: it is not valid, not a transaction token, or for another service.
            ServiceError: auth's keys cannot be had.
        """
        now = self._clock()
        key = f"{audience} {token}"
        if (known := self._transactions.get(key, now)) is not None:
            return known
        claims = await self._claims(token, TRANSACTION_TYPE, audience)
        try:
            transaction = _transaction_claims(claims, require_times(claims, now))
        except ContextError as error:
            raise Unauthenticated from error
        self._transactions.put(key, transaction)
        return transaction

    async def _claims(self, token: str, kind: str, audience: str) -> Mapping[str, object]:
        if len(token) > MAXIMUM_TOKEN_BYTES or _COMPACT.fullmatch(token) is None:
            raise Unauthenticated
        try:
            header = jws.extract_compact(token.encode()).headers()
            if header.get("typ") != kind or header.get("alg") not in ALGORITHMS:
                raise Unauthenticated
            key = await self._keys.get(require_text(header, "kid"))
            claims: Mapping[str, object] = jwt.decode(token, key, algorithms=ALGORITHMS).claims
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise Unauthenticated from error
        if claims.get("iss") != ISSUER or claims.get("aud") != audience:
            raise Unauthenticated
        return claims


class _Cache(Generic[V]):
    """The last 10,000 verified tokens, by SHA-256: a token itself is never kept."""

    def __init__(self) -> None:
        self._values: OrderedDict[bytes, V] = OrderedDict()

    def get(self, token: str, now: float) -> V | None:
        key = hashlib.sha256(token.encode()).digest()
        value = self._values.get(key)
        if value is None:
            return None
        if now >= value.expires_at.timestamp():
            del self._values[key]
            return None
        self._values.move_to_end(key)
        return value

    def put(self, token: str, value: V) -> None:
        self._values[hashlib.sha256(token.encode()).digest()] = value
        if len(self._values) > _CACHED_TOKENS:
            self._values.popitem(last=False)


def _scopes(claims: Mapping[str, object]) -> frozenset[Scope]:
    value = claims.get("scope")
    if not isinstance(value, str):
        raise Unauthenticated
    return parse_scopes(value.split())


def _transaction_claims(claims: Mapping[str, object], expires_at: datetime) -> TransactionClaims:
    place = claims.get("tctx")
    if not isinstance(place, dict):
        raise Unauthenticated
    return TransactionClaims(
        transaction_id=require_text(claims, "txn"),
        tenant_id=TenantId(require_text(place, "tenant_id")),
        user_id=UserId(require_text(claims, "sub")),
        session_id=SessionId(require_text(place, "session_id")),
        thread_id=ThreadId(require_text(place, "thread_id")) if "thread_id" in place else None,
        run_id=RunId(require_text(place, "run_id")) if "run_id" in place else None,
        scopes=_scopes(claims),
        workload=require_text(claims, "req_wl"),
        expires_at=expires_at,
    )


def _key_set(text: str) -> KeySet:
    value = json.loads(text)
    if not isinstance(value, dict) or not isinstance(value.get("keys"), list):
        raise Unavailable
    return KeySet.import_key_set(cast("KeySetSerialization", value))
