from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from services.auth.tests.running import RunningAuth, running_auth
from tools.datastores import Datastores
from tools.local.tests.running import PASSWORD, LoggedIn, error_of
from tools.processes.waiting import wait_until

REFUSED = (401, "UNAUTHENTICATED")


def _refresh(auth: RunningAuth, refresh_token: str) -> httpx.Response:
    return auth.http.post("/refresh", json={"refresh_token": refresh_token})


def _me(auth: RunningAuth, access_token: str) -> httpx.Response:
    return auth.http.get("/users/me", headers={"authorization": f"Bearer {access_token}"})


@pytest.fixture
def alice(auth: RunningAuth) -> LoggedIn:
    """A member of a tenant of her own."""
    return auth.new_user(auth.new_tenant())


def test_refresh_continues_the_session(auth: RunningAuth, alice: LoggedIn) -> None:
    """A refresh token gives another pair, for the same user, and both access tokens work."""
    answer = _refresh(auth, alice.refresh_token).json()

    assert alice.user_id == answer["user_id"]
    assert alice.refresh_token != answer["refresh_token"]
    assert 200 == _me(auth, answer["access_token"]).status_code
    assert 200 == _me(auth, alice.access_token).status_code


def test_reuse_of_a_refresh_token_ends_the_session(auth: RunningAuth, alice: LoggedIn) -> None:
    """Whoever presents a used refresh token ends the session for all who hold its tokens."""
    newer = _refresh(auth, alice.refresh_token).json()

    assert REFUSED == error_of(_refresh(auth, alice.refresh_token))
    assert REFUSED == error_of(_refresh(auth, newer["refresh_token"]))
    assert REFUSED == error_of(_me(auth, newer["access_token"]))


def test_concurrent_refreshes_give_one_pair(auth: RunningAuth, alice: LoggedIn) -> None:
    """Of two requests with one refresh token at once, one at most is answered with tokens."""
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: _refresh(auth, alice.refresh_token), range(4)))

    assert [200, 401, 401, 401] == sorted(answer.status_code for answer in answers)
    assert REFUSED == error_of(_me(auth, alice.access_token))


def test_log_out_ends_this_session_only(auth: RunningAuth, alice: LoggedIn) -> None:
    """After a log-out its tokens are refused at once; the user's other session continues."""
    elsewhere = auth.log_in(alice.tenant, alice.login_name)

    assert 204 == auth.http.post("/logout", headers=alice.bearer).status_code
    assert REFUSED == error_of(_me(auth, alice.access_token))
    assert REFUSED == error_of(_refresh(auth, alice.refresh_token))
    assert REFUSED == error_of(auth.http.post("/logout", headers=alice.bearer))
    assert 200 == _me(auth, elsewhere.access_token).status_code


def test_an_administrator_ends_all_sessions_of_a_user(auth: RunningAuth) -> None:
    """Every session of the user ends; the administrator's own does not."""
    administrator = auth.new_tenant()
    first = auth.new_user(administrator)
    second = auth.log_in(first.tenant, first.login_name)
    path = f"/users/{first.user_id}/revocations"

    assert 204 == auth.http.post(path, headers=administrator.bearer).status_code
    assert REFUSED == error_of(_me(auth, first.access_token))
    assert REFUSED == error_of(_me(auth, second.access_token))
    assert 200 == _me(auth, administrator.access_token).status_code


def test_another_tenants_user_and_none_are_alike(auth: RunningAuth, alice: LoggedIn) -> None:
    """Revoking another tenant's user answers as if there were none, and does nothing."""
    stranger = auth.new_tenant()
    answers = [
        auth.http.post(f"/users/{user_id}/revocations", headers=stranger.bearer)
        for user_id in (alice.user_id, "f" * 32)
    ]

    assert [(404, "NOT_FOUND")] * 2 == [error_of(answer) for answer in answers]
    assert 1 == len({answer.json()["error"]["message"] for answer in answers})
    assert 200 == _me(auth, alice.access_token).status_code


@pytest.mark.parametrize("token", ["x", "A" * 43, "A" * 256, "\u00e9" * 43, "../" * 10])
def test_refresh_tokens_that_nobody_was_given(auth: RunningAuth, token: str) -> None:
    """Any string that is nobody's refresh token gets the same answer."""
    assert REFUSED == error_of(_refresh(auth, token))


def test_sessions_outlive_the_process(datastores: Datastores) -> None:
    """After a restart sessions that were open are open, and those that had ended have ended."""
    with running_auth(datastores) as auth:
        administrator = auth.new_tenant()
        ended = auth.log_in(administrator.tenant, administrator.login_name)
        auth.http.post("/logout", headers=ended.bearer)
        auth.process.restart()

        assert 200 == _me(auth, administrator.access_token).status_code
        assert REFUSED == error_of(_me(auth, ended.access_token))


def test_expired_access_tokens_are_refused(datastores: Datastores) -> None:
    """An access token ends by itself; the session continues with the refresh token."""
    with running_auth(datastores, settings={"ACCESS_TOKEN_SECONDS": "5"}) as auth:
        alice = auth.new_tenant()
        wait_until(lambda: _me(auth, alice.access_token).status_code != 200)

        assert REFUSED == error_of(_me(auth, alice.access_token))
        assert 200 == _refresh(auth, alice.refresh_token).status_code


def test_logs_hold_no_credential(auth: RunningAuth, alice: LoggedIn) -> None:
    """Passwords, tokens and log-in names are in no log line; identifiers and the trace are."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    auth.http.get(
        "/users/me", headers={**alice.bearer, "traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    )
    text = auth.process.log_path.read_text()
    (line,) = [one for one in auth.log_lines() if one.get("trace_id") == trace]

    for secret in (PASSWORD, alice.access_token, alice.refresh_token, alice.tenant):
        assert secret not in text
    assert (alice.tenant_id, alice.user_id) == (line["tenant_id"], line["user_id"])
    assert ("answered", "auth", 200) == (line["event"], line["service"], line["status"])
