from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import grpc
import grpc.aio
import pytest

from contracts.context import (
    RequestId,
    RunId,
    Scope,
    SessionId,
    TenantId,
    ThreadId,
    UserExecutionContext,
    UserId,
)
from contracts.context.carriers.hop import TransactionClaims
from services.auth.tests.running import RunningAuth
from services.runtime.auth_client import AuthClient
from services.runtime.errors import (
    InvalidArgument,
    PermissionDenied,
    ServiceError,
    Unauthenticated,
)
from services.runtime.revocations import RevocationFeed
from services.runtime.tokens import TokenVerifier
from tools.local.tests.running import LoggedIn

THREAD, RUN = ThreadId("thread-1"), RunId("run-1")


@pytest.fixture
async def backend(auth: RunningAuth) -> AsyncIterator[AuthClient]:
    """Auth, as the backend speaks to it."""
    secret = auth.system.credentials.workload_secrets["backend"]
    client = AuthClient(auth.grpc_target(), workload="backend", secret=secret)
    yield client
    await client.close()


@pytest.fixture
def alice(auth: RunningAuth) -> LoggedIn:
    """A member of a tenant of her own."""
    return auth.new_user(auth.new_tenant())


def _context(user: LoggedIn, *scopes: Scope) -> UserExecutionContext:
    now = datetime.now(UTC)
    return UserExecutionContext(
        tenant_id=TenantId(user.tenant_id),
        user_id=UserId(user.user_id),
        thread_id=THREAD,
        run_id=RUN,
        request_id=RequestId("request-2"),
        parent_request_id=RequestId("request-1"),
        operation_depth=1,
        scopes=frozenset(scopes),
        issued_at=now,
        expires_at=now + timedelta(seconds=30),
    )


async def test_a_token_for_one_hop(backend: AuthClient, alice: LoggedIn) -> None:
    """The token says user, thread, run, chain and caller; only its audience may read it."""
    context = _context(alice, Scope.USAGE_WRITE)
    token = await backend.exchange(alice.access_token, context, "analytics")
    verifier = TokenVerifier(backend.fetch_keys)
    claims = await verifier.verify_transaction(token.value, "analytics")
    session_id = (await verifier.verify_access(alice.access_token)).session_id

    assert (
        TransactionClaims(
            transaction_id="request-1",
            tenant_id=TenantId(alice.tenant_id),
            user_id=UserId(alice.user_id),
            session_id=SessionId(session_id),
            thread_id=THREAD,
            run_id=RUN,
            scopes=frozenset({Scope.USAGE_WRITE}),
            workload="backend",
            expires_at=token.expires_at,
        )
        == claims
    )
    assert timedelta(seconds=55) < token.expires_at - datetime.now(UTC) <= timedelta(seconds=60)
    with pytest.raises(Unauthenticated):
        await verifier.verify_transaction(token.value, "backend")
    with pytest.raises(Unauthenticated):
        await verifier.verify_access(token.value)


async def test_no_scope_beyond_the_access_token(backend: AuthClient, alice: LoggedIn) -> None:
    """A member's token is not exchanged for an administrator's."""
    with pytest.raises(PermissionDenied):
        await backend.exchange(alice.access_token, _context(alice, Scope.TENANT_USAGE), "analytics")


async def test_unknown_audiences_are_refused(backend: AuthClient, alice: LoggedIn) -> None:
    """A token is for a service that there is."""
    with pytest.raises(InvalidArgument):
        await backend.exchange(alice.access_token, _context(alice, Scope.USAGE_WRITE), "elsewhere")


async def test_an_ended_session_is_not_exchanged(
    auth: RunningAuth, backend: AuthClient, alice: LoggedIn
) -> None:
    """From the acknowledged log-out on there is no token for another hop."""
    await asyncio.to_thread(auth.http.post, "/logout", headers=alice.bearer)

    with pytest.raises(Unauthenticated):
        await backend.exchange(alice.access_token, _context(alice, Scope.USAGE_WRITE), "analytics")


@pytest.mark.parametrize(
    ("workload", "secret_of"), [("backend", "analytics"), ("stranger", "backend"), ("auth", "")]
)
async def test_only_known_workloads_are_answered(
    auth: RunningAuth, workload: str, secret_of: str
) -> None:
    """A service that proves no name of its own is told nothing."""
    secret = auth.system.credentials.workload_secrets.get(secret_of, "0" * 32)
    client = AuthClient(auth.grpc_target(), workload=workload, secret=secret)
    try:
        with pytest.raises(Unauthenticated):
            await client.fetch_keys()
        with pytest.raises(Unauthenticated):
            await client.list_revocations(0)
    finally:
        await client.close()


async def test_the_feed_knows_a_log_out_within_the_bound(
    auth: RunningAuth, backend: AuthClient, alice: LoggedIn
) -> None:
    """Two seconds after its acknowledged log-out the session is refused, and another is not."""
    other = await asyncio.to_thread(auth.log_in, alice.tenant, alice.login_name)
    verifier = TokenVerifier(backend.fetch_keys)
    ended = (await verifier.verify_access(alice.access_token)).session_id
    live = (await verifier.verify_access(other.access_token)).session_id
    feed = RevocationFeed(backend.list_revocations)
    told: asyncio.Queue[SessionId] = asyncio.Queue()
    feed.subscribe(told.put_nowait)
    await feed.start()
    try:
        async with asyncio.timeout(5):
            await feed.refresh()
        feed.require_live(ended)
        await asyncio.to_thread(auth.http.post, "/logout", headers=alice.bearer)
        acknowledged = time.monotonic()
        async with asyncio.timeout(10):
            while await told.get() != ended:
                pass

        assert time.monotonic() - acknowledged < 2
        with pytest.raises(Unauthenticated):
            feed.require_live(ended)
        feed.require_live(live)
    finally:
        await feed.stop()


async def test_revocations_come_in_the_order_of_commits(
    auth: RunningAuth, backend: AuthClient
) -> None:
    """Log-outs at once get numbers without a gap, and the head covers them all."""
    administrator = await asyncio.to_thread(auth.new_tenant)
    sessions = [
        await asyncio.to_thread(auth.log_in, administrator.tenant, "root") for _ in range(8)
    ]
    before = (await backend.list_revocations(0)).head_sequence
    await asyncio.gather(
        *(asyncio.to_thread(auth.http.post, "/logout", headers=s.bearer) for s in sessions)
    )
    answer = await backend.list_revocations(before)

    assert list(range(before + 1, before + 9)) == [r.sequence for r in answer.revocations]
    assert (before + 8, False) == (answer.head_sequence, answer.more)


async def test_refusals_hold_nothing_of_the_request(backend: AuthClient, alice: LoggedIn) -> None:
    """What the service answers quotes no token and no identifier."""
    with pytest.raises(ServiceError) as caught:
        await backend.exchange(
            f"{alice.access_token}x", _context(alice, Scope.USAGE_WRITE), "analytics"
        )

    assert grpc.StatusCode.UNAUTHENTICATED == caught.value.code
    cause = caught.value.__cause__
    assert isinstance(cause, grpc.aio.AioRpcError)
    assert "expected a valid credential" == cause.details()
