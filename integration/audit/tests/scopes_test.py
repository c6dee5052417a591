"""Containment of scopes, and what an allowance covers."""

import pytest

from integration.audit.scopes import Allowance, AllowancePlan, Level, Permit, Reach, Scope
from integration.audit.vocabulary import ObservationClass

ROOT = Scope()
TENANT = Scope("t")
USER = Scope("t", "u")
THREAD = Scope("t", "u", "c")
NAMESAKE = Scope("other", "u", "c")


@pytest.mark.parametrize("scope", [ROOT, TENANT, USER, THREAD, NAMESAKE])
def test_the_root_contains_everything_and_everything_itself(scope: Scope) -> None:
    """Nobody's scope is around everybody's, and each contains itself."""
    assert ROOT.contains(scope)
    assert scope.contains(scope)


def test_wider_contains_narrower_only() -> None:
    """A thread lies in its user and tenant, and they do not lie in it."""
    assert TENANT.contains(USER)
    assert USER.contains(THREAD)
    assert not THREAD.contains(USER)


def test_equal_labels_under_another_tenant_are_another_scope() -> None:
    """The same user and thread labels in two tenants contain nothing of each other."""
    assert not THREAD.contains(NAMESAKE)
    assert not USER.contains(NAMESAKE)


def test_at_gives_the_scope_around() -> None:
    """A scope at a wider level is cut there, at a narrower one it stays."""
    assert Scope("t", "u") == THREAD.at(Level.USER)
    assert USER == USER.at(Level.THREAD)
    assert [Level.ROOT, Level.TENANT, Level.USER, Level.THREAD] == [
        each.level for each in (ROOT, TENANT, USER, THREAD)
    ]


@pytest.mark.parametrize(
    ("reach", "owner", "expected"),
    [
        (Reach.WITHIN, THREAD, True),
        (Reach.WITHIN, USER, True),
        (Reach.WITHIN, TENANT, True),
        (Reach.WITHIN, Scope("t", "v"), False),
        (Reach.AT, USER, True),
        (Reach.AT, TENANT, True),
        (Reach.AT, THREAD, False),
        (Reach.AT, NAMESAKE, False),
    ],
)
def test_an_allowance_covers_what_is_around_and_perhaps_what_is_inside(
    reach: Reach, owner: Scope, *, expected: bool
) -> None:
    """`AT` leaves out what lies inside; what lies around is always covered."""
    assert expected is Allowance(ObservationClass.IDENTIFIER, USER, reach).covers(owner)


def test_a_permit_keeps_classes_apart() -> None:
    """Leave to see identifiers is none to see content."""
    plan = AllowancePlan(ObservationClass.IDENTIFIER, Level.TENANT, Reach.AT)
    permit = Permit([plan.around(USER)])

    assert permit.allows(ObservationClass.IDENTIFIER, TENANT)
    assert not permit.allows(ObservationClass.IDENTIFIER, USER)
    assert not permit.allows(ObservationClass.CONTENT, TENANT)
