"""Oracles find nothing in correct histories, and the wrong that is planted into one of them."""

from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from integration.audit.adapter import Observation, Reading, Result
from integration.audit.records import (
    Closing,
    Completed,
    Invoked,
    Observed,
    Subscribed,
    Unsubscribed,
)
from integration.audit.scopes import Level
from integration.audit.tests import stories
from integration.audit.tests.correct import correct_story
from integration.audit.tests.stories import EXAMPLES, Story, found, randoms
from integration.audit.vocabulary import Anomaly, Channel


@EXAMPLES
@given(random=randoms)
def test_correct_histories_have_no_findings(random: Random) -> None:
    """Overlapping writes, unknown outcomes, probes and logs of a correct system are all allowed."""
    examination = correct_story(random).finish()

    assert {} == found(examination), examination.findings.retained


def test_every_oracle_looks_at_a_correct_history() -> None:
    """A history with everything in it leaves none of the six oracles without checks."""
    findings = correct_story(Random(4), steps=60).finish().findings

    assert {
        Anomaly.STALE_PRINCIPAL,
        Anomaly.PHANTOM_CONTINUITY,
        Anomaly.PRIVILEGE_ESCALATION,
    } == {anomaly for anomaly in Anomaly if findings.checks(anomaly) is None}


def _final_reads(story: Story, entries: int) -> list[tuple[int, Completed]]:
    final = {each.number for each in story.records if isinstance(each, Invoked) and each.final}
    return [
        (index, record)
        for index, record in enumerate(story.records)
        if isinstance(record, Completed)
        and record.number in final
        and len(record.observations) >= entries
    ]


def _acknowledged(story: Story) -> set[str]:
    ok = {r.number for r in story.records if isinstance(r, Completed) and r.result is Result.OK}
    return {
        r.canaries[0]
        for r in story.records
        if isinstance(r, Invoked) and r.canaries and r.number in ok
    }


@EXAMPLES
@given(random=randoms)
def test_delivery_finds_a_lost_write(random: Random) -> None:
    """An acknowledged write that its owner's last look does not show is found."""
    story = correct_story(random)
    acknowledged = _acknowledged(story)
    chances = [
        (index, record, position)
        for index, record in _final_reads(story, 1)
        for position, entry in enumerate(record.observations)
        if acknowledged & set(story.mint.find(str(entry.data)))
    ]
    assume(chances)
    index, record, position = random.choice(chances)
    left = record.observations[:position] + record.observations[position + 1 :]
    story.records[index] = record._replace(observations=left)

    assert {Anomaly.LOST_DELIVERY: 1} == found(story.finish())


@EXAMPLES
@given(random=randoms)
def test_delivery_finds_a_write_that_is_there_twice(random: Random) -> None:
    """A second entry with the same canary is found, even without sequence numbers."""
    story = correct_story(random)
    chances = _final_reads(story, 1)
    assume(chances)
    index, record = random.choice(chances)
    entries = [entry._replace(sequence=None) for entry in record.observations]
    entries.append(entries[-1])
    story.records[index] = record._replace(observations=tuple(entries))

    assert {Anomaly.LOST_DELIVERY: 1} == found(story.finish())


def test_delivery_finds_writes_in_the_wrong_order() -> None:
    """A write that was acknowledged before another was sent stands before it."""
    story = Story()
    thread = next(iter(story.threads))
    for _ in range(4):
        story.write(thread)
    story.threads[thread].entries.insert(0, story.threads[thread].entries.pop())
    story.read(thread, final=True)

    assert Anomaly.LOST_DELIVERY in found(story.finish())


def test_delivery_lets_overlapping_writes_stand_either_way() -> None:
    """Two writes that were in flight together have no order."""
    story = Story()
    thread = next(iter(story.threads))
    first = story.invoke(stories.WRITE, thread)
    second = story.invoke(stories.WRITE, thread)
    story.complete(first)
    story.complete(second)
    story.threads[thread].entries = [second.canaries[0], first.canaries[0]]
    story.read(thread, final=True)

    assert {} == found(story.finish())


@EXAMPLES
@given(random=randoms, wrong=st.sampled_from(["lost", "twice", "swapped"]))
def test_delivery_finds_a_wrong_event_on_a_connection(random: Random, wrong: str) -> None:
    """An event that is missing, comes twice, or comes too early on a connection is found."""
    story = correct_story(random)
    acknowledged = _acknowledged(story)
    events: dict[int, list[int]] = {}
    for index, record in enumerate(story.records):
        if isinstance(record, Observed) and record.subscription is not None:
            events.setdefault(record.subscription, []).append(index)
    chances = [
        (first, second)
        for indexes in events.values()
        for first, second in pairwise(indexes)
        if acknowledged & set(story.mint.find(str(_event(story, first).observation.data)))
    ]
    assume(chances)
    first, second = random.choice(chances)
    if wrong == "lost":
        del story.records[first]
    elif wrong == "twice":
        story.records.insert(first, story.records[first])
    else:
        story.records[first], story.records[second] = story.records[second], story.records[first]

    assert {Anomaly.LOST_DELIVERY} == set(found(story.finish()))


@pytest.mark.parametrize(
    ("sequences", "expected"),
    [([4, 5, 9], {}), ([4, 4], {Anomaly.LOST_DELIVERY: 1}), ([4, 2], {Anomaly.LOST_DELIVERY: 1})],
)
def test_delivery_allows_gaps_where_none_are_ruled_out(
    sequences: list[int], expected: dict[Anomaly, int]
) -> None:
    """Without a promise of gaplessness numbers must grow, by whatever."""
    plan = replace(stories.SOCKET, gapless=False)
    story = Story(description=replace(stories.DESCRIPTION, subscriptions=(plan,)))
    thread = next(iter(story.threads))
    name = story.principal(thread).name
    story.records.append(Subscribed(0, plan.name, name, thread, story.tick()))
    for sequence in sequences:
        story.see(Observation(Channel.WEBSOCKET, "event", sequence=sequence), 0)

    assert expected == found(story.finish())


def _event(story: Story, index: int) -> Observed:
    record = story.records[index]
    assert isinstance(record, Observed)
    return record


@EXAMPLES
@given(random=randoms, off=st.integers(min_value=-3, max_value=3).filter(bool))
def test_aggregates_find_a_total_that_is_off(random: Random, off: int) -> None:
    """A total after everything has ended is exact: more is contamination, less is a loss."""
    story = correct_story(random)
    index = max(
        index
        for index, record in enumerate(story.records)
        if isinstance(record, Completed) and record.readings
    )
    record = story.records[index]
    assert isinstance(record, Completed)
    value = record.readings[0].value
    # Unknown outcomes that did not happen leave room above; go beyond it.
    unknown = sum(isinstance(r, Completed) and r.result is Result.UNKNOWN for r in story.records)
    off += unknown if off > 0 else -unknown
    story.records[index] = record._replace(readings=(Reading("messages", value + off),))

    expected = Anomaly.AGGREGATE_CONTAMINATION if off > 0 else Anomaly.LOST_DELIVERY
    findings = story.finish().findings
    assert {expected: 1} == dict(findings.counts)
    assert ["aggregates"] == [each.oracle for each in findings.retained]


def test_aggregates_name_a_stranger_whose_contribution_was_counted() -> None:
    """The witness of a contaminated total has a write from outside its scope."""
    story = Story()
    first, *_, last = story.threads
    story.write(first)
    stranger = story.write(last)
    user = first.at(Level.USER)
    total = story.complete(story.invoke(stories.TOTAL, user), readings=(Reading("messages", 2),))

    (finding,) = story.finish().findings.retained

    assert (stranger.number, total.number) == (finding.writer, finding.reader)
    assert (last, user) == (finding.owner, finding.observer)


@EXAMPLES
@given(random=randoms, status=st.sampled_from(["403", "404"]), word=st.sampled_from(["no", "yes"]))
def test_existence_finds_answers_that_differ(random: Random, status: str, word: str) -> None:
    """Another status or another body for what exists is found; the asked-for name is not."""
    story = correct_story(random)
    twins = {each.twin for each in story.records if isinstance(each, Invoked)} - {None}
    indexes = [
        index
        for index, record in enumerate(story.records)
        if isinstance(record, Completed) and record.number in twins
    ]
    assume(indexes)
    index = random.choice(indexes)
    record = story.records[index]
    assert isinstance(record, Completed)
    body = record.observations[0]
    changed = body._replace(data=str(body.data).replace("no thread", f"{word} thread"))
    story.records[index] = record._replace(status=status, observations=(changed,))

    expected = {} if (status, word) == ("404", "no") else {Anomaly.EXISTENCE_ORACLE: 1}
    assert expected == found(story.finish())


@pytest.mark.parametrize(("seconds", "expected"), [(1.0, {}), (3.0, {Anomaly.STALE_PRINCIPAL: 1})])
def test_lifecycle_finds_service_after_revocation(
    seconds: float, expected: dict[Anomaly, int]
) -> None:
    """A logged-out session may be served within the bound, and not after it."""
    story = Story()
    thread = next(iter(story.threads))
    session = story.principal(thread, "second")
    story.complete(story.invoke(stories.LOG_OUT, thread.at(Level.USER), session))
    story.tick(seconds)
    story.complete(story.invoke(stories.READ, thread, session))
    story.complete(story.invoke(stories.READ, thread, session), result=Result.FAILED, status="401")
    story.read(thread)

    assert expected == found(story.finish())


def test_lifecycle_finds_events_after_revocation() -> None:
    """A connection whose session was logged out brings nothing beyond the bound."""
    story = Story()
    thread = next(iter(story.threads))
    session = story.principal(thread, "second")
    story.records.append(Subscribed(0, stories.SOCKET.name, session.name, thread, story.tick()))
    revoked = story.invoke(stories.LOG_OUT, thread.at(Level.USER), session)
    story.complete(revoked)
    story.tick(stories.BOUND_SECONDS)
    story.see(Observation(Channel.WEBSOCKET, "late", sequence=1), 0)
    story.records.append(Unsubscribed(0, story.tick(), Closing.SERVER))

    examination = story.finish()

    (finding,) = examination.findings.retained
    assert (Anomaly.STALE_PRINCIPAL, revoked.number, 0) == (
        finding.anomaly,
        finding.writer,
        finding.subscription,
    )


CLOSINGS = [
    # seconds after the revocation, who closed, checks, findings
    (-1.0, Closing.SERVER, None, {}),
    (1.0, Closing.SERVER, 1, {}),
    (1.0, Closing.FINISHED, None, {}),
    (3.0, Closing.SERVER, 1, {Anomaly.STALE_PRINCIPAL: 1}),
    (3.0, Closing.FINISHED, 1, {Anomaly.STALE_PRINCIPAL: 1}),
]


@pytest.mark.parametrize(("seconds", "reason", "checks", "expected"), CLOSINGS)
def test_lifecycle_finds_a_connection_that_stays_open(
    seconds: float, reason: str, checks: int | None, expected: dict[Anomaly, int]
) -> None:
    """A logged-out session's silent connection ends within the bound; before it, nobody knows."""
    story = Story()
    thread = next(iter(story.threads))
    session = story.principal(thread, "second")
    story.records.append(Subscribed(0, stories.SOCKET.name, session.name, thread, story.tick()))
    if seconds < 0:
        story.records.append(Unsubscribed(0, story.tick(), reason))
    story.complete(story.invoke(stories.LOG_OUT, thread.at(Level.USER), session))
    if seconds > 0:
        story.tick(seconds)
        story.records.append(Unsubscribed(0, story.tick(), reason))

    examination = story.finish()

    assert expected == found(examination)
    assert checks == examination.findings.checks(Anomaly.STALE_PRINCIPAL)


def test_lifecycle_finds_a_connection_that_was_opened_after_revocation() -> None:
    """A logged-out session that is admitted again is served, even if nothing comes."""
    story = Story()
    thread = next(iter(story.threads))
    session = story.principal(thread, "second")
    story.complete(story.invoke(stories.LOG_OUT, thread.at(Level.USER), session))
    story.tick(stories.BOUND_SECONDS)
    story.records.append(Subscribed(0, stories.SOCKET.name, session.name, thread, story.tick()))
    story.records.append(Unsubscribed(0, story.tick(), Closing.FINISHED))

    assert {Anomaly.STALE_PRINCIPAL: 1} == found(story.finish())
