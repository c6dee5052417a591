from __future__ import annotations

import base64
import json

from services.auth.tests.running import RunningAuth
from tools.local.tests.running import PASSWORD, error_of

# Headers of the answer itself, which say nothing of whom it was about.
VARYING = {"date", "x-request-id"}


def _claims(token: str) -> dict[str, object]:
    payload = token.split(".")[1]
    claims: dict[str, object] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return claims


def test_log_in_gives_tokens_of_the_user(auth: RunningAuth) -> None:
    """A log-in answers with the user's and tenant's identifiers, and a token that says the same."""
    administrator = auth.new_tenant()
    claims = _claims(administrator.access_token)

    assert administrator.user_id == claims["sub"]
    assert administrator.tenant_id == claims["tid"]
    assert "watertight-auth" == claims["iss"]
    assert 300 == int(str(claims["exp"])) - int(str(claims["iat"]))
    assert set(claims) == {"iss", "aud", "sub", "tid", "sid", "scope", "iat", "exp", "jti"}


def test_members_have_no_scope_over_their_tenant(auth: RunningAuth) -> None:
    """Only administrators' tokens may use the tenant's scopes."""
    administrator = auth.new_tenant()
    member = auth.new_user(administrator)

    assert "tenant:users" in str(_claims(administrator.access_token)["scope"]).split()
    assert "tenant:users" not in str(_claims(member.access_token)["scope"]).split()
    assert (403, "PERMISSION_DENIED") == error_of(
        auth.http.post(
            "/users", json={"login_name": "x", "password": PASSWORD}, headers=member.bearer
        )
    )


def test_own_account(auth: RunningAuth) -> None:
    """A user sees her own account."""
    alice = auth.new_user(auth.new_tenant())
    body = auth.http.get("/users/me", headers=alice.bearer).json()

    assert {
        "tenant_id": alice.tenant_id,
        "user_id": alice.user_id,
        "login_name": "alice",
        "administrator": False,
        "scopes": ["threads:read", "threads:write", "usage:read", "usage:write"],
    } == body


def test_login_names_are_unique_within_a_tenant_only(auth: RunningAuth) -> None:
    """Two tenants have users of the same log-in name, who are two users; one tenant has not."""
    one, other = auth.new_tenant(), auth.new_tenant()
    alice, her_twin = auth.new_user(one), auth.new_user(other)
    again = auth.http.post(
        "/users", json={"login_name": "alice", "password": PASSWORD}, headers=one.bearer
    )

    assert alice.user_id != her_twin.user_id
    assert (409, "ALREADY_EXISTS") == error_of(again)


def test_one_answer_for_unknown_and_wrong(auth: RunningAuth) -> None:
    """Unknown tenant, unknown user and wrong password differ in nothing but the request."""
    administrator = auth.new_tenant()
    attempts = [
        {"tenant": "nobody's", "login_name": "root", "password": PASSWORD},
        {"tenant": administrator.tenant, "login_name": "nobody", "password": PASSWORD},
        {"tenant": administrator.tenant, "login_name": "root", "password": "not the password"},
    ]
    answers = [auth.http.post("/login", json=attempt) for attempt in attempts]
    seen = set()
    for answer in answers:
        error = answer.json()["error"]
        headers = tuple(sorted((k, v) for k, v in answer.headers.items() if k not in VARYING))
        seen.add((answer.status_code, error["code"], error["message"], headers))

    assert 1 == len(seen)
    assert (401, "UNAUTHENTICATED") == error_of(answers[0])


def test_only_the_operator_makes_tenants(auth: RunningAuth) -> None:
    """Neither nobody, nor a wrong secret, nor an administrator may make a tenant."""
    body = {"name": "x", "administrator": {"login_name": "root", "password": PASSWORD}}
    administrator = auth.new_tenant()
    secret = auth.system.credentials.operator_secret
    wrong = {"authorization": f"Bearer {secret.swapcase()}"}

    for headers in ({}, wrong, administrator.bearer):
        answer = auth.http.post("/operator/tenants", json=body, headers=headers)
        assert (401, "UNAUTHENTICATED") == error_of(answer)


def test_a_tenants_name_is_taken_once(auth: RunningAuth) -> None:
    """The operator is told that a name is taken, and nothing is stored."""
    administrator = auth.new_tenant()
    answer = auth.http.post(
        "/operator/tenants",
        json={
            "name": administrator.tenant,
            "administrator": {"login_name": "other", "password": PASSWORD},
        },
        headers=auth.operator,
    )

    assert (409, "ALREADY_EXISTS") == error_of(answer)
    answer = auth.http.post(
        "/login",
        json={"tenant": administrator.tenant, "login_name": "other", "password": PASSWORD},
    )
    assert 401 == answer.status_code


def test_keys_are_public_parts_only(auth: RunningAuth) -> None:
    """The key set holds what verifies, not what signs."""
    (key,) = auth.http.get("/.well-known/jwks.json").json()["keys"]

    assert json.loads(auth.system.credentials.signing_key)["kid"] == key["kid"]
    assert "d" not in key


def test_health_and_metrics(auth: RunningAuth) -> None:
    """The service tells that it is ready, alive, and what it has counted."""
    health = auth.http.get("/health")

    assert 200 == health.status_code
    assert {"postgres": True, "revocations": True} == health.json()["checks"]
    assert 200 == auth.http.get("/health/live").status_code
    assert "watertight_requests_total" in auth.http.get("/metrics").text
