"""The continuity oracle, on histories of one register for each thread, as sessions are."""

from random import Random

import pytest
from hypothesis import given

from integration.audit.adapter import Result
from integration.audit.records import Invoked
from integration.audit.scopes import Scope
from integration.audit.tests.stories import EXAMPLES, READ, WRITE, Story, found, randoms
from integration.audit.vocabulary import Anomaly, Consequence

LOST = {Anomaly.PHANTOM_CONTINUITY: 1}


@pytest.fixture
def story() -> Story:
    """A history in which nothing has happened yet."""
    return Story()


@pytest.fixture
def thread(story: Story) -> Scope:
    """One of its threads."""
    return next(iter(story.threads))


def _end(story: Story, invoked: Invoked, session: str, result: Result = Result.OK) -> None:
    completed = story.complete(invoked, result=result)
    story.records[-1] = completed._replace(session=session)


def _write(story: Story, thread: Scope, session: str, result: Result = Result.OK) -> None:
    """A write that opens a session."""
    _end(story, story.invoke(WRITE, thread), session, result)


def _resume(story: Story, thread: Scope, session: str) -> None:
    """The owner resumes, and is given a session."""
    _end(story, story.invoke(READ, thread), session)


def test_session_is_that_of_the_last_write(story: Story, thread: Scope) -> None:
    """First sessions, later ones and the same one again are what their owner should get."""
    for session in ("first", "first"):
        _resume(story, thread, session)
    for session in ("second", "third"):
        _write(story, thread, session)
        _resume(story, thread, session)

    examination = story.finish()

    assert {} == found(examination)
    assert 4 == examination.findings.checks(Anomaly.PHANTOM_CONTINUITY)


@pytest.mark.parametrize("given", ["first", "second", "invented"])
def test_session_that_was_replaced_is_lost(story: Story, thread: Scope, given: str) -> None:
    """An earlier session, or one that nobody opened, is a loss of the last one."""
    _resume(story, thread, "first")
    for session in ("second", "third"):
        _write(story, thread, session)
    _resume(story, thread, given)

    examination = story.finish()

    assert LOST == found(examination)
    assert {Consequence.LOSS: 1} == dict(examination.findings.consequences)
    assert "operation 2 had opened" in examination.findings.retained[0].detail


def test_first_session_that_is_forgotten_is_lost(story: Story, thread: Scope) -> None:
    """Nothing was written, and yet the second resumption is given another session."""
    _resume(story, thread, "first")
    _resume(story, thread, "second")

    assert LOST == found(story.finish())


def test_session_of_another_thread_is_a_leak(story: Story) -> None:
    """What one thread's write opened is given to another thread, of the same user or not."""
    threads = list(story.threads)
    _write(story, threads[0], "own")
    _resume(story, threads[-1], "own")

    examination = story.finish()

    assert LOST == found(examination)
    assert {Consequence.LEAK: 1} == dict(examination.findings.consequences)
    assert threads[0] == examination.findings.retained[0].owner


def test_stranger_who_is_given_a_session_is_a_leak(story: Story, thread: Scope) -> None:
    """Whoever resumes what is another's must be refused."""
    stranger = story.principal(list(story.threads)[-1])
    _end(story, story.invoke(READ, thread, stranger), "new")

    examination = story.finish()

    assert LOST == found(examination)
    assert {Consequence.LEAK: 1} == dict(examination.findings.consequences)


def test_write_of_unknown_outcome_may_have_opened_it(story: Story, thread: Scope) -> None:
    """What a time-out left behind is no loss; a write that has failed left nothing."""
    _write(story, thread, "first")
    _write(story, thread, "", Result.UNKNOWN)
    _resume(story, thread, "second")

    assert {} == found(story.finish())


def test_failed_write_has_opened_nothing(story: Story, thread: Scope) -> None:
    """A refusal explains no other session."""
    _write(story, thread, "first")
    _write(story, thread, "", Result.FAILED)
    _resume(story, thread, "second")

    assert LOST == found(story.finish())


@EXAMPLES
@given(random=randoms)
def test_overlapping_operations_may_stand_in_any_order(random: Random) -> None:
    """Whatever a register gives is right, whenever within an operation it changes or is read."""
    story = Story()
    threads = list(story.threads)[:2]
    current: dict[Scope, str] = {}
    sent: list[tuple[Invoked, Scope, str]] = []
    decided: list[tuple[Invoked, str]] = []
    for step in range(60):
        thread = random.choice(threads)
        plan, session = random.choice(((WRITE, f"run {step}"), (READ, "")))
        sent.append((story.invoke(plan, thread), thread, session))
        while sent and random.random() < 0.5:
            invoked, place, session = sent.pop(random.randrange(len(sent)))
            current[place] = session or current.get(place, f"first of {place}")
            decided.append((invoked, current[place]))
        while decided and random.random() < 0.5:
            _end(story, *decided.pop(random.randrange(len(decided))))
    while decided:
        _end(story, *decided.pop())
    for invoked, _, _ in sent:
        story.complete(invoked, result=Result.FAILED)

    assert {} == found(story.finish())

    _write(story, threads[0], "last")
    _resume(story, threads[0], current.get(threads[0], "none"))

    assert LOST == found(story.finish())
