from __future__ import annotations

import pytest

from contracts.context import SessionId
from services.runtime.errors import ServiceError, Unauthenticated, Unavailable
from services.runtime.revocations import STALE_SECONDS, RevocationFeed
from watertight.auth.v1.auth_pb2 import ListRevocationsResponse, Revocation

_ENDED, _LIVE = SessionId("ended"), SessionId("live")


class _Auth:
    """Answers as auth does, from a list, in pages."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.now = 1000.0
        self.page = 2
        self.takes_seconds = 0.0
        self.error: ServiceError | None = None
        self.asked: list[int] = []

    async def list_revocations(self, after: int) -> ListRevocationsResponse:
        """The sessions after this number."""
        self.asked.append(after)
        self.now += self.takes_seconds
        if self.error is not None:
            raise self.error
        numbered = list(enumerate(self.ended, 1))[after : after + self.page]
        answer = ListRevocationsResponse(
            head_sequence=numbered[-1][0] if numbered else min(after, len(self.ended)),
            more=bool(numbered) and numbered[-1][0] < len(self.ended),
        )
        for sequence, session_id in numbered:
            revocation = Revocation(sequence=sequence, session_id=session_id)
            revocation.expires_at.FromSeconds(5000)
            answer.revocations.append(revocation)
        return answer


@pytest.fixture
def auth() -> _Auth:
    """Auth, as the feed sees it."""
    return _Auth()


@pytest.fixture
def feed(auth: _Auth) -> RevocationFeed:
    """A feed that is asked to refresh by hand."""
    return RevocationFeed(
        auth.list_revocations, clock=lambda: auth.now, wall_clock=lambda: auth.now
    )


def test_nobody_is_served_before_the_first_answer(feed: RevocationFeed) -> None:
    """What has not been told of any log-out cannot know that there was none."""
    with pytest.raises(Unavailable):
        feed.require_live(_LIVE)


async def test_heard_from_the_first_answer_on(auth: _Auth, feed: RevocationFeed) -> None:
    """A failed question is none; once there was an answer, silence makes stale, not unheard."""
    auth.error = Unavailable()
    with pytest.raises(Unavailable):
        await feed.refresh()
    before = feed.heard
    auth.error = None
    await feed.refresh()
    auth.now += STALE_SECONDS + 1

    assert (False, True, False) == (before, feed.heard, feed.fresh)


async def test_ended_sessions_are_refused(auth: _Auth, feed: RevocationFeed) -> None:
    """Every page is read, and those on none of them live."""
    auth.ended = ["a", "b", "c", "d", "ended"]
    await feed.refresh()

    with pytest.raises(Unauthenticated):
        feed.require_live(_ENDED)
    feed.require_live(_LIVE)
    assert [0, 2, 4] == auth.asked


async def test_only_news_are_asked_for(auth: _Auth, feed: RevocationFeed) -> None:
    """What has been told is not asked for again."""
    auth.ended = ["a"]
    await feed.refresh()
    auth.ended.append("ended")
    await feed.refresh()

    assert [0, 1] == auth.asked
    with pytest.raises(Unauthenticated):
        feed.require_live(_ENDED)


async def test_a_stale_feed_refuses_everybody(auth: _Auth, feed: RevocationFeed) -> None:
    """Two seconds after the last answered question began, nobody is served."""
    await feed.refresh()
    auth.now += STALE_SECONDS
    feed.require_live(_LIVE)
    auth.now += 0.001

    with pytest.raises(Unavailable):
        feed.require_live(_LIVE)


async def test_age_counts_from_the_question(auth: _Auth, feed: RevocationFeed) -> None:
    """A slow answer is as old as its question: a log-out meanwhile may be missing from it."""
    auth.takes_seconds = STALE_SECONDS + 0.1
    await feed.refresh()

    with pytest.raises(Unavailable):
        feed.require_live(_LIVE)


async def test_a_failed_question_refreshes_nothing(auth: _Auth, feed: RevocationFeed) -> None:
    """While auth refuses, the feed ages; what it knows stays refused."""
    auth.ended = ["ended"]
    await feed.refresh()
    auth.error = Unavailable()
    with pytest.raises(Unavailable):
        await feed.refresh()
    auth.now += STALE_SECONDS + 1

    with pytest.raises(Unauthenticated):
        feed.require_live(_ENDED)
    with pytest.raises(Unavailable):
        feed.require_live(_LIVE)


async def test_subscribers_are_told_once(auth: _Auth, feed: RevocationFeed) -> None:
    """Each session that ends is told once, until the subscription ends."""
    told: list[SessionId] = []
    unsubscribe = feed.subscribe(told.append)
    auth.ended = ["ended"]
    await feed.refresh()
    await feed.refresh()
    unsubscribe()
    auth.ended.append("later")
    await feed.refresh()

    assert [_ENDED] == told


async def test_an_older_store_is_read_from_its_start(auth: _Auth, feed: RevocationFeed) -> None:
    """When auth knows less than it did, nothing that it knows is skipped."""
    auth.ended = ["a", "b", "c"]
    await feed.refresh()
    auth.ended = ["x", "ended"]
    await feed.refresh()

    with pytest.raises(Unauthenticated):
        feed.require_live(_ENDED)


async def test_expired_revocations_are_forgotten(auth: _Auth, feed: RevocationFeed) -> None:
    """Once no token of a session can be valid, the feed need not remember it."""
    auth.ended = ["ended"]
    await feed.refresh()
    auth.now = 5002
    await feed.refresh()

    feed.require_live(_ENDED)


async def test_an_answer_that_goes_nowhere_is_refused(auth: _Auth) -> None:
    """More to come, but nothing now: the feed does not ask for ever."""

    async def endless(after: int) -> ListRevocationsResponse:
        return ListRevocationsResponse(head_sequence=after, more=True)

    with pytest.raises(Unavailable):
        await RevocationFeed(endless, clock=lambda: auth.now).refresh()
