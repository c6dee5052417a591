"""Scopes name exactly whose data is meant; none means everybody."""

from __future__ import annotations

import pytest

from contracts.context import (
    ContextMalformed,
    ContextMissing,
    DataScope,
    InvalidIdentifier,
    Scope,
    ScopeKind,
    TenantId,
    UserId,
    parse_scopes,
)


@pytest.mark.parametrize(
    "words", [["everything"], ["threads:read", "threads:read"], ["THREADS:READ"]]
)
def test_unknown_and_repeated_scopes_are_refused(words: list[str]) -> None:
    """A scope that is unknown, or said twice, is refused and not ignored."""
    with pytest.raises(ContextMalformed):
        parse_scopes(words)


def test_known_scopes_are_read() -> None:
    """Every scope can be said by its word."""
    assert frozenset(Scope) == parse_scopes(scope.value for scope in Scope)


@pytest.mark.parametrize("kind", ScopeKind)
def test_a_scope_without_identifiers_cannot_be_made(kind: ScopeKind) -> None:
    """No kind of scope can be made without its identifiers."""
    with pytest.raises(ContextMalformed):
        DataScope(kind)


def test_identifiers_must_fit_the_kind() -> None:
    """A user's scope cannot be made of another kind's identifiers, nor with a look-up beside."""
    with pytest.raises(InvalidIdentifier):
        DataScope.user(TenantId("t"), TenantId("u"))  # type: ignore[arg-type]
    with pytest.raises(ContextMalformed):
        DataScope(ScopeKind.USER, TenantId("t"), UserId("u"), lookup="x")
    with pytest.raises(ContextMissing):
        DataScope.login("")


def test_settings_leave_nothing_of_an_older_scope() -> None:
    """Every scope sets all five settings, so that none keeps an earlier transaction's value."""
    names = {
        frozenset(scope.settings())
        for scope in (
            DataScope.login("x"),
            DataScope.user(TenantId("t"), UserId("u")),
            DataScope.tenant(TenantId("t")),
        )
    }

    assert 1 == len(names)
    assert 5 == len(names.pop())
