"""The privilege oracle, on what it must find and what it must let pass."""

from dataclasses import replace

import pytest

from integration.audit.adapter import Observation, Result
from integration.audit.population import Principal
from integration.audit.records import Invoked
from integration.audit.scopes import Level
from integration.audit.system import ADMINISTRATOR, MEMBER, OperationKind, OperationPlan
from integration.audit.tests.stories import DESCRIPTION, WRITE, Story, found
from integration.audit.vocabulary import Anomaly, Channel, Consequence

TOTALS = OperationPlan(
    "totals", Channel.HTTP, OperationKind.AGGREGATE, Level.TENANT, role=ADMINISTRATOR
)
ESCALATED = {Anomaly.PRIVILEGE_ESCALATION: 1}


@pytest.fixture
def story() -> Story:
    """A history of a system with two roles, in which nothing has happened yet."""
    grants = {MEMBER: ("read", "write"), ADMINISTRATOR: ("read", "write", "totals")}
    operations = (*DESCRIPTION.operations, TOTALS)
    return Story(description=replace(DESCRIPTION, operations=operations, grants=grants))


def _asked(story: Story, role: str, result: Result) -> None:
    """Somebody of a role asks for the first tenant's totals."""
    principal = _first(story, role)
    invoked = story.invoke(TOTALS, principal.scope.at(Level.TENANT), principal)
    story.complete(invoked, result=result)


def _first(story: Story, role: str) -> Principal:
    return next(each for each in story.population.principals if each.role == role)


def _span(story: Story, invoked: Invoked, **stated: str) -> None:
    """A record of an operation that states rights."""
    attribution = {"trace": invoked.trace, **stated}
    story.see(Observation(Channel.TRACES, "span", attribution=attribution, source="hop span"))


@pytest.mark.parametrize("result", [Result.OK, Result.FAILED])
def test_who_has_the_role_may_be_served_or_not(story: Story, result: Result) -> None:
    """An administrator's own operation is no question of privilege."""
    _asked(story, ADMINISTRATOR, result)

    examination = story.finish()

    assert {} == found(examination)
    assert None is examination.findings.checks(Anomaly.PRIVILEGE_ESCALATION)


def test_who_lacks_the_role_is_refused(story: Story) -> None:
    """A refusal is looked at; whoever was not answered was neither served nor refused."""
    _asked(story, MEMBER, Result.FAILED)
    _asked(story, MEMBER, Result.UNKNOWN)

    examination = story.finish()

    assert {} == found(examination)
    assert 1 == examination.findings.checks(Anomaly.PRIVILEGE_ESCALATION)


def test_member_who_is_served_as_administrator_is_found(story: Story) -> None:
    """A member's acknowledged request for what takes another role is a leak."""
    _asked(story, MEMBER, Result.OK)

    examination = story.finish()

    assert ESCALATED == found(examination)
    assert {Consequence.LEAK: 1} == dict(examination.findings.consequences)


def test_rights_that_widen_on_a_hop_are_found(story: Story) -> None:
    """Fewer rights are right, and more than the asker's role has are found where they stand."""
    invoked = story.invoke(WRITE, next(iter(story.threads)))
    for stated in ("read write", "write", ""):
        _span(story, invoked, scopes=stated)
    _span(story, invoked, scopes="write totals")
    story.complete(invoked)

    examination = story.finish()

    assert ESCALATED == found(examination)
    assert 4 == examination.findings.checks(Anomaly.PRIVILEGE_ESCALATION)
    (finding,) = examination.findings.retained
    assert ("totals", "hop span", invoked.number) == (finding.token, finding.source, finding.writer)


def test_same_rights_are_an_administrators(story: Story) -> None:
    """What is beyond a member is within the role above."""
    principal = _first(story, ADMINISTRATOR)
    invoked = story.invoke(TOTALS, principal.scope.at(Level.TENANT), principal)
    _span(story, invoked, scopes="read totals")
    story.complete(invoked)

    assert {} == found(story.finish())


def test_record_that_states_no_rights_is_not_looked_at(story: Story) -> None:
    """Nobody is told that something was checked which was not."""
    invoked = story.invoke(WRITE, next(iter(story.threads)))
    _span(story, invoked)
    story.see(Observation(Channel.TRACES, "span", attribution={"scopes": "totals"}))
    story.complete(invoked)

    assert None is story.finish().findings.checks(Anomaly.PRIVILEGE_ESCALATION)
