"""Provenance and attribution find what is planted into a correct history, wherever that is."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from integration.audit.adapter import Observation
from integration.audit.records import (
    Completed,
    Invoked,
    Observed,
)
from integration.audit.scopes import Level, Scope
from integration.audit.tests import stories
from integration.audit.tests.correct import correct_story
from integration.audit.tests.stories import EXAMPLES, Story, found, randoms
from integration.audit.vocabulary import Anomaly, Channel

# Ways in which a value may be written where it travels.
WRITINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "shouted": str.upper,
    "glued": "x{}y".format,
    "escaped": lambda token: f'{{"body": "\\u{ord(token[0]):04x}{token[1:]}"}}',
    "nested": lambda token: f'"{{\\"body\\": \\"\\\\u{ord(token[0]):04x}{token[1:]}\\"}}"',
    "percent": lambda token: f"q=%{ord(token[0]):02X}{token[1:]}",
}


@EXAMPLES
@given(random=randoms, writing=st.sampled_from(sorted(WRITINGS)))
def test_provenance_finds_a_content_canary_anywhere(random: Random, writing: str) -> None:
    """A stranger's content canary in any observation is named by channel and by distance."""
    story = correct_story(random)
    thread = random.choice(list(story.threads))
    writer = story.write(thread)
    place, anomaly = _plant(
        story, random, thread.at(Level.USER), WRITINGS[writing](writer.canaries[0])
    )

    examination = story.finish()

    finding = next(each for each in examination.findings.retained if each.oracle == "provenance")
    assert anomaly == finding.anomaly
    assert place.channel == finding.channel
    assert writer.number == finding.writer
    assert writer.canaries[0] == finding.token


def _plant(story: Story, random: Random, owner: Scope, text: str) -> tuple[Observation, Anomaly]:
    """Put text into one observation that is not the owner's; give it, and the name of that."""
    places = [
        (index, None) for index, record in enumerate(story.records) if isinstance(record, Observed)
    ] + [
        (index, number)
        for index, record in enumerate(story.records)
        if isinstance(record, Completed)
        for number in range(len(record.observations))
    ]
    random.shuffle(places)
    invoked = {each.number: each for each in story.records if isinstance(each, Invoked)}
    for index, number in places:
        record = story.records[index]
        if isinstance(record, Observed):
            if record.subscription is not None:
                viewer = list(story.threads)[record.subscription]
            else:
                stated = record.observation.attribution or {}
                viewer = next(
                    s for s in story.numbers if story.identifier(s) in stated.values() and s.user
                )
            observation = record.observation
        else:
            assert isinstance(record, Completed)
            assert number is not None
            operation = invoked[record.number]
            principal = operation.principal
            viewer = next(p.scope for p in story.population.principals if p.name == principal)
            observation = record.observations[number]
        if owner.contains(viewer):
            continue
        planted = observation._replace(data=f"{observation.data!s} {text}")
        if isinstance(record, Observed):
            story.records[index] = record._replace(observation=planted)
        else:
            observations = list(record.observations)
            observations[number or 0] = planted
            story.records[index] = record._replace(observations=tuple(observations))
        # A writer must come before whoever sees it, as in any real history.
        story.records.append(story.records.pop(index))
        reads = (
            Anomaly.CROSS_TENANT_READ if viewer.tenant != owner.tenant else Anomaly.CROSS_USER_READ
        )
        named = {
            Channel.LOGS: Anomaly.CONTEXT_BLEED,
            Channel.POSTGRES_ROWS: Anomaly.WRITE_CAPTURE,
            Channel.WEBSOCKET: Anomaly.MISROUTE,
        }
        return planted, named.get(planted.channel, reads)
    pytest.fail("every observation was the owner's")


@EXAMPLES
@given(random=randoms)
def test_provenance_finds_an_identifier_anywhere(random: Random) -> None:
    """A stranger's thread identifier is found among other text."""
    story = correct_story(random)
    thread = random.choice(list(story.threads))
    token = story.identifier(thread)
    invoked = [each for each in story.records if isinstance(each, Invoked)]
    assume(any(not each.mentions for each in invoked))
    _, anomaly = _plant(story, random, thread.at(Level.USER), f"[{token}]")

    findings = story.finish().findings.retained

    # A probe may name what it asks for: the one place where the plant is no leak.
    mentioned = any(token in each.mentions for each in invoked)
    assert mentioned or anomaly in {each.anomaly for each in findings if token == each.token}


def test_provenance_tells_threads_of_one_user_apart() -> None:
    """One thread's content in the other's answer is a cross-thread read, in the list it is none."""
    story = Story()
    first, second = [scope for scope in story.threads if scope.user == "user-0"][:2]
    token = story.write(first).canaries[0]
    story.complete(
        story.invoke(stories.LIST, first.at(Level.USER)), Observation(Channel.HTTP, token)
    )
    story.complete(story.invoke(stories.READ, second), Observation(Channel.HTTP, token))

    assert {Anomaly.CROSS_THREAD_READ: 1} == found(story.finish())


def test_content_in_a_content_free_channel_is_a_leak_to_its_owner_too() -> None:
    """A log line that quotes its own user's content is found."""
    story = Story()
    thread = next(iter(story.threads))
    writer = story.write(thread)
    story.log(writer, note=writer.canaries[0])

    assert {Anomaly.CONTEXT_BLEED: 1} == found(story.finish())


@EXAMPLES
@given(random=randoms)
def test_attribution_finds_a_line_under_another_context(random: Random) -> None:
    """A log line that carries one operation's trace and another user is found."""
    story = correct_story(random)
    lines = [
        index
        for index, record in enumerate(story.records)
        if isinstance(record, Observed) and record.observation.channel is Channel.LOGS
    ]
    index = random.choice(lines)
    record = story.records[index]
    assert isinstance(record, Observed)
    stated = dict(record.observation.attribution or {})
    others = [
        user.scope
        for user in story.population.users
        if story.identifier(user.scope) != stated["user"]
    ]
    other = random.choice(others)
    stated |= {
        "user": story.identifier(other),
        "tenant": story.identifier(other.at(Level.TENANT)),
    }
    stated.pop("thread", None)
    planted = record.observation._replace(attribution=stated, data="a line")
    story.records[index] = record._replace(observation=planted)

    findings = story.finish().findings.retained

    assert [("attribution", Anomaly.CONTEXT_BLEED, Channel.LOGS)] == [
        (each.oracle, each.anomaly, each.channel) for each in findings
    ]


def test_attribution_finds_a_row_that_contradicts_itself() -> None:
    """A row with one user's identifier and another's thread was written into the wrong scope."""
    story = Story()
    first, *_, last = story.threads
    stated = {
        "user": story.identifier(first.at(Level.USER)),
        "thread": story.identifier(last),
    }
    story.see(Observation(Channel.POSTGRES_ROWS, "a row", attribution=stated))

    assert {Anomaly.WRITE_CAPTURE: 1} == found(story.finish())


def test_a_row_that_contradicts_itself_is_viewed_as_its_first_owner() -> None:
    """What it holds of the second owner is captured too."""
    story = Story()
    first, *_, last = story.threads
    token = story.write(last).canaries[0]
    stated = {
        "user": story.identifier(first.at(Level.USER)),
        "thread": story.identifier(last),
    }
    story.see(Observation(Channel.POSTGRES_ROWS, token, attribution=stated))

    findings = story.finish().findings.retained
    assert {"attribution", "provenance"} == {each.oracle for each in findings}
