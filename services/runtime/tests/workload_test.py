from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from services.runtime.errors import Unauthenticated
from services.runtime.workload import WorkloadVerifier, make_workload_token

_NOW = 1_800_000_000
_SECRETS = {"backend": "b" * 32, "analytics": "a" * 32}


def _verifier(now: float = _NOW) -> WorkloadVerifier:
    return WorkloadVerifier(_SECRETS, clock=lambda: now)


def _token(
    secret: str = _SECRETS["backend"], header: dict[str, Any] | None = None, **claims: Any
) -> str:
    whole = {
        "iss": "backend",
        "aud": "auth",
        "iat": _NOW,
        "exp": _NOW + 30,
        **claims,
    }
    return jwt.encode(
        {"alg": "HS256", "typ": "workload+jwt", **(header or {})},
        {name: value for name, value in whole.items() if value is not None},
        OctKey.import_key(secret),
        algorithms=["HS256", "HS512"],
    )


def test_a_workload_proves_its_name() -> None:
    """Each service is known by its own secret."""
    now = datetime.fromtimestamp(_NOW, UTC)
    for name, secret in _SECRETS.items():
        assert name == _verifier().verify(make_workload_token(name, secret, now))


def test_a_workload_token_ends() -> None:
    """After half a minute it proves nothing."""
    token = make_workload_token("backend", _SECRETS["backend"], datetime.fromtimestamp(_NOW, UTC))

    assert "backend" == _verifier(_NOW + 29).verify(token)
    with pytest.raises(Unauthenticated):
        _verifier(_NOW + 30).verify(token)


@pytest.mark.parametrize(
    "token",
    [
        _token(_SECRETS["analytics"]),
        _token(iss="analytics"),
        _token(iss="stranger"),
        _token(iss=None),
        _token(iss=["backend"]),
        _token(aud="backend"),
        _token(aud=None),
        _token(exp=_NOW + 61),
        _token(exp=None),
        _token(iat=None),
        _token(header={"typ": "JWT"}),
        _token(header={"alg": "HS512"}),
        "",
        "a.b.c",
        "é",
    ],
)
def test_tokens_that_prove_nothing(token: str) -> None:
    """Another's secret, name, audience or type, or a life over a minute is refused."""
    with pytest.raises(Unauthenticated):
        _verifier().verify(token)
