"""Sessions continue: opening a context gets what is there and makes only what is not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given

from contracts.context import (
    MEMBER_SCOPES,
    ContextExpired,
    Principal,
    RunId,
    SessionId,
    TenantId,
    ThreadId,
    ThreadState,
    UserId,
    open_context,
)
from contracts.context.tests.strategies import names

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PRINCIPAL = Principal(
    TenantId("t"), UserId("u"), SessionId("s"), MEMBER_SCOPES, NOW + timedelta(minutes=5)
)
THREAD = ThreadId("th")


def counter() -> Callable[[], str]:
    """New identifiers, counted from n0."""
    numbers = count()
    return lambda: f"n{next(numbers)}"


def test_the_current_run_continues() -> None:
    """Without a run the thread's current one continues, in a new request."""
    new_id = counter()
    state = ThreadState(RunId("r"))
    first = open_context(PRINCIPAL, (THREAD, state), None, now=NOW, new_id=new_id)
    second = open_context(PRINCIPAL, (THREAD, state), None, now=NOW, new_id=new_id)

    assert "r" == first.run_id == second.run_id
    assert first.request_id != second.request_id


def test_a_run_is_made_where_there_is_none() -> None:
    """A thread without a run gets a new one."""
    context = open_context(PRINCIPAL, (THREAD, ThreadState()), None, now=NOW, new_id=counter())

    assert "n0" == context.run_id


@given(names)
def test_another_run_is_opened(name: str) -> None:
    """A run that is named is the context's, whatever the thread's current one is."""
    state = ThreadState(RunId("r"))
    context = open_context(PRINCIPAL, (THREAD, state), RunId(name), now=NOW, new_id=counter())

    assert name == context.run_id


def test_passing_back_what_came_out_changes_nothing() -> None:
    """The same thread and run give the same session but for the request."""
    new_id = counter()
    first = open_context(PRINCIPAL, (THREAD, ThreadState()), None, now=NOW, new_id=new_id)
    assert first.thread_id is not None
    again = open_context(
        PRINCIPAL,
        (first.thread_id, ThreadState(first.run_id)),
        first.run_id,
        now=NOW,
        new_id=new_id,
    )

    assert (first.data_scope, first.run_id) == (again.data_scope, again.run_id)


def test_without_a_thread_the_context_is_the_users() -> None:
    """A context without a thread works for the user and is in no run."""
    context = open_context(PRINCIPAL, None, None, now=NOW, new_id=counter())

    assert PRINCIPAL.data_scope == context.data_scope
    assert context.run_id is None


def test_an_expired_principal_opens_nothing() -> None:
    """From its expiry on a principal is refused."""
    with pytest.raises(ContextExpired):
        open_context(PRINCIPAL, None, None, now=PRINCIPAL.expires_at, new_id=counter())
