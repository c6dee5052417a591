"""A context is immutable, consistent, and derived contexts only narrow."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from contracts.context import (
    SESSION_SCOPE,
    Attributes,
    ContextError,
    ContextExpired,
    ContextMalformed,
    ContextMissing,
    ContextOversized,
    ContextWidened,
    DataScope,
    DepthExceeded,
    InvalidIdentifier,
    RequestId,
    RunId,
    Scope,
    ScopeDenied,
    SessionScopeConflict,
    TenantId,
    ThreadId,
    UserExecutionContext,
    UserId,
)
from contracts.context.carriers.log import log_fields
from contracts.context.tests.strategies import contexts

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def make(**changes: object) -> UserExecutionContext:
    """A context of depth 0 in a run, changed as asked."""
    fields: dict[str, object] = {
        "tenant_id": TenantId("t"),
        "user_id": UserId("u"),
        "thread_id": ThreadId("th"),
        "run_id": RunId("r"),
        "request_id": RequestId("q"),
        "scopes": frozenset({Scope.THREADS_READ, Scope.USAGE_READ}),
        "issued_at": NOW,
        "expires_at": NOW + timedelta(minutes=5),
    }
    return UserExecutionContext(**(fields | changes))  # type: ignore[arg-type]


def test_fields_cannot_be_changed() -> None:
    """Neither a field nor a nested attribute can be changed after creation."""
    source = {"k": "v"}
    context = make(attributes=source)
    source["k"] = "changed"

    assert "v" == context.attributes["k"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        context.user_id = UserId("other")  # type: ignore[misc]
    with pytest.raises(TypeError):
        context.attributes["k"] = "w"  # type: ignore[index]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"user_id": "u"}, InvalidIdentifier),
        ({"user_id": TenantId("u")}, InvalidIdentifier),
        ({"thread_id": UserId("th")}, InvalidIdentifier),
        ({"thread_id": None}, ContextMalformed),
        ({"operation_depth": -1}, ContextMalformed),
        ({"operation_depth": True}, ContextMalformed),
        ({"operation_depth": 1}, ContextMalformed),
        ({"parent_request_id": RequestId("p")}, ContextMalformed),
        ({"operation_depth": 1, "parent_request_id": RequestId("q")}, ContextMalformed),
        ({"operation_depth": 11, "parent_request_id": RequestId("p")}, DepthExceeded),
        ({"scopes": {Scope.THREADS_READ}}, ContextMalformed),
        ({"scopes": frozenset({"threads:read"})}, ContextMalformed),
        ({"issued_at": datetime(2026, 1, 1)}, ContextMalformed),  # noqa: DTZ001 -- the defect itself
        ({"expires_at": NOW}, ContextMalformed),
        ({"attributes": {"": "v"}}, ContextMalformed),
        ({"attributes": {"k": 1}}, ContextMalformed),
        ({"attributes": {"k": "v" * 400}}, ContextOversized),
    ],
)
def test_contradictions_are_refused(changes: dict[str, object], error: type[ContextError]) -> None:
    """A context whose fields are of the wrong type or contradict each other is refused."""
    with pytest.raises(error):
        make(**changes)


def test_children_go_down_to_the_limit() -> None:
    """A child is one deeper with this request as its parent, and depth 10 has no child."""
    context = make()
    for depth in range(1, 11):
        child = context.child(RequestId(f"q{depth}"))

        assert (depth, context.request_id) == (child.operation_depth, child.parent_request_id)
        assert context.data_scope == child.data_scope
        context = child
    with pytest.raises(DepthExceeded):
        context.child(RequestId("q11"))


def test_narrowing_takes_away() -> None:
    """A narrowed context may have a thread where there was none, fewer scopes and a nearer end."""
    context = make(thread_id=None, run_id=None)
    narrowed = context.narrowed(
        thread_id=ThreadId("th"),
        run_id=RunId("r"),
        scopes={Scope.THREADS_READ},
        expires_at=NOW + timedelta(minutes=1),
    )

    assert DataScope.thread(TenantId("t"), UserId("u"), ThreadId("th")) == narrowed.data_scope
    assert frozenset({Scope.THREADS_READ}) == narrowed.scopes


@pytest.mark.parametrize(
    "wish",
    [
        {"thread_id": ThreadId("other")},
        {"run_id": RunId("other")},
        {"scopes": {Scope.TENANT_USAGE}},
        {"expires_at": NOW + timedelta(minutes=6)},
    ],
)
def test_narrowing_never_widens(wish: dict[str, object]) -> None:
    """Another thread or run, a scope more or a later end is refused."""
    with pytest.raises(ContextWidened):
        make().narrowed(**wish)  # type: ignore[arg-type]


@pytest.mark.parametrize("offset", [timedelta(minutes=5), timedelta(seconds=-6), timedelta(days=9)])
def test_validity_has_two_ends(offset: timedelta) -> None:
    """A context is refused from its expiry on, and before its issue less the clocks' tolerance."""
    make().require_valid(NOW)
    make().require_valid(NOW - timedelta(seconds=5))
    with pytest.raises(ContextExpired):
        make().require_valid(NOW + offset)


def test_scopes_are_asked_for() -> None:
    """An operation whose scope the context lacks is refused."""
    make().require_scope(Scope.THREADS_READ)
    with pytest.raises(ScopeDenied):
        make().require_scope(Scope.TENANT_USAGE)


@pytest.fixture
def session() -> AsyncSession:
    """A session that has not connected anywhere."""
    return AsyncSession(create_async_engine("postgresql+asyncpg://nobody@127.0.0.1:1/none"))


def test_a_session_is_no_part_of_the_context(session: AsyncSession) -> None:
    """A bound session changes neither equality, hash, repr nor what a log line says."""
    context = make()
    bound = context.with_db_session(session)

    assert context == bound
    assert hash(context) == hash(bound)
    assert repr(context) == repr(bound)
    assert log_fields(context) == log_fields(bound)
    assert session is bound.db
    assert context.data_scope == session.info[SESSION_SCOPE]
    with pytest.raises(ContextMissing):
        _ = context.db


async def test_an_open_transaction_keeps_its_scope(session: AsyncSession) -> None:
    """A session with an open transaction is refused to a second scope, and kept for its own."""
    context = make().with_db_session(session)
    _ = await session.begin()
    other = make(thread_id=ThreadId("other"))

    with pytest.raises(SessionScopeConflict):
        other.with_db_session(session)
    assert session is context.with_db_session(session).db
    await session.close()


async def test_an_open_transaction_without_a_scope_is_refused(session: AsyncSession) -> None:
    """A session whose transaction began under no scope cannot be given one in the middle."""
    _ = await session.begin()

    with pytest.raises(SessionScopeConflict):
        make().with_db_session(session)
    await session.close()


def test_a_session_serves_the_context_that_bound_it_last(session: AsyncSession) -> None:
    """After another context has bound the session, the first one no longer gives it out."""
    first = make().with_db_session(session)
    make(thread_id=ThreadId("other")).with_db_session(session)

    with pytest.raises(SessionScopeConflict):
        _ = first.db


@given(contexts())
def test_equal_contexts_hash_alike(context: UserExecutionContext) -> None:
    """A copy equals its source and has the same hash."""
    copy = dataclasses.replace(context)

    assert (context, hash(context)) == (copy, hash(copy))


def test_attributes_of_one_context_are_comparable() -> None:
    """Attributes equal any mapping with the same pairs, in any order."""
    assert Attributes({"a": "1", "b": "2"}) == {"b": "2", "a": "1"}
