from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from contracts.context import Principal, Scope, SessionId, TenantId, UserId
from services.runtime.errors import Unauthenticated, Unavailable
from services.runtime.tests.signing import ACCESS, NOW, Signer, signed_by_public_key
from services.runtime.tokens import TokenVerifier


class _Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def signer() -> Signer:
    """Auth's key."""
    return Signer()


@pytest.fixture
def clock() -> _Clock:
    """A wall clock that stands."""
    return _Clock(NOW)


@pytest.fixture
def monotonic() -> _Clock:
    """A monotonic clock that stands."""
    return _Clock(1000)


@pytest.fixture
def verifier(signer: Signer, clock: _Clock, monotonic: _Clock) -> TokenVerifier:
    """Verifies by the signer's keys."""
    return TokenVerifier(signer.fetch, clock=clock, monotonic_clock=monotonic)


async def test_a_valid_access_token(verifier: TokenVerifier, signer: Signer) -> None:
    """It speaks for its user, with its scopes, until its end."""
    expected = Principal(
        TenantId("tenant-1"),
        UserId("user-1"),
        SessionId("session-1"),
        frozenset({Scope.THREADS_READ, Scope.USAGE_READ}),
        datetime.fromtimestamp(NOW + 290, UTC),
    )

    assert expected == await verifier.verify_access(signer.access())


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "somebody"},
        {"iss": None},
        {"aud": "elsewhere"},
        {"aud": ["watertight"]},
        {"aud": None},
        {"sub": None},
        {"sub": ""},
        {"sub": 1},
        {"sub": "null"},
        {"sub": "x" * 65},
        {"tid": None},
        {"sid": None},
        {"scope": None},
        {"scope": ["threads:read"]},
        {"scope": "threads:read everything"},
        {"scope": "threads:read threads:read"},
        {"iat": None},
        {"exp": None},
        {"exp": NOW},
        {"exp": str(NOW + 100)},
        {"exp": True},
        {"exp": NOW + 10.5},
        {"exp": 10**30},
        {"iat": NOW + 6},
        {"iat": NOW + 300},
    ],
)
async def test_claims_that_are_refused(
    verifier: TokenVerifier, signer: Signer, claims: dict[str, Any]
) -> None:
    """Whatever is absent, of another type, for another, or out of time is no credential."""
    with pytest.raises(Unauthenticated):
        await verifier.verify_access(signer.access(**claims))


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT"},
        {"typ": "txntoken+jwt"},
        {"kid": "key-2"},
        {"kid": ""},
        {"alg": "EdDSA"},
    ],
)
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
async def test_headers_that_are_refused(
    verifier: TokenVerifier, signer: Signer, header: dict[str, Any]
) -> None:
    """Another type, key or algorithm is no credential, whoever signed it."""
    with pytest.raises(Unauthenticated):
        await verifier.verify_access(signer.access(header))


def _unsigned() -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none', 'typ': 'at+jwt', 'kid': 'key-1'})}.{part(ACCESS)}."


async def test_forgeries(verifier: TokenVerifier, signer: Signer) -> None:
    """No signature, another's, one by the public key, a changed payload: none is taken."""
    head, payload, signature = signer.access().split(".")
    other = payload[:-4] + ("AAAA" if payload[-4:] != "AAAA" else "BBBB")
    forgeries = [
        _unsigned(),
        signed_by_public_key(signer),
        Signer().access(),
        f"{head}.{other}.{signature}",
        f"{head}.{payload}.",
        f"{head}.{payload}.{signature[::-1]}",
        f"{head}.{payload}.{signature}=",
        f"{head}.{payload}.{signature}\n",
        "",
        "..",
        "a.b.c",
        "x" * 5000,
        "é.é.é",
    ]
    for forgery in forgeries:
        with pytest.raises(Unauthenticated):
            await verifier.verify_access(forgery)


async def test_a_known_token_still_expires(
    verifier: TokenVerifier, signer: Signer, clock: _Clock
) -> None:
    """What was verified before is refused at its end, though it is remembered."""
    token = signer.access()
    await verifier.verify_access(token)
    clock.now = NOW + 289.9
    await verifier.verify_access(token)
    clock.now = NOW + 290

    with pytest.raises(Unauthenticated):
        await verifier.verify_access(token)


async def test_an_access_token_is_no_transaction_token(
    verifier: TokenVerifier, signer: Signer
) -> None:
    """Neither kind is taken for the other, nor one service's for another's, also when known."""
    access, transaction = signer.access(aud="analytics"), signer.transaction()
    claims = await verifier.verify_transaction(transaction, "analytics")

    assert "session-1" == claims.session_id
    assert claims.run_id is None
    for refused in (
        verifier.verify_transaction(access, "analytics"),
        verifier.verify_transaction(transaction, "backend"),
        verifier.verify_access(transaction),
    ):
        with pytest.raises(Unauthenticated):
            await refused


@pytest.mark.parametrize(
    "claims",
    [{"txn": None}, {"req_wl": None}, {"tctx": None}, {"tctx": []}, {"tctx": {"tenant_id": "t"}}],
)
async def test_transaction_claims_that_are_refused(
    verifier: TokenVerifier, signer: Signer, claims: dict[str, Any]
) -> None:
    """A transaction token says the chain, the caller and the place."""
    with pytest.raises(Unauthenticated):
        await verifier.verify_transaction(signer.transaction(**claims), "analytics")


async def test_unknown_keys_are_fetched_at_a_bounded_rate(
    verifier: TokenVerifier, signer: Signer, monotonic: _Clock
) -> None:
    """Made-up key identifiers cause one question in 5 s; a new key is known after that."""
    await verifier.verify_access(signer.access())
    for number in range(20):
        with pytest.raises(Unauthenticated):
            await verifier.verify_access(signer.access({"kid": f"made-up-{number}"}))
    assert 1 == signer.fetches

    rotated = Signer("key-2")
    signer.key = rotated.key
    monotonic.now += 5.1
    await verifier.verify_access(rotated.access())

    assert 2 == signer.fetches


async def test_withdrawn_keys_are_forgotten(
    verifier: TokenVerifier, signer: Signer, monotonic: _Clock
) -> None:
    """A key that auth withdraws verifies nothing new after five minutes."""
    old = signer.key
    await verifier.verify_access(signer.access())
    forger = Signer()
    forger.key, signer.key = old, Signer("key-2").key
    monotonic.now += 301

    with pytest.raises(Unauthenticated):
        await verifier.verify_access(forger.access(jti="new"))


async def test_keys_that_cannot_be_had(clock: _Clock) -> None:
    """While auth does not answer nobody is told that the credential is wrong."""

    async def fetch() -> str:
        raise Unavailable

    with pytest.raises(Unavailable):
        await TokenVerifier(fetch, clock=clock).verify_access(Signer().access())
