"""Who receives which events, with events from a real Postgres and wake-ups from a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from contracts.context import DataScope, Principal, ThreadId
from services.backend.announcements import Announcements
from services.backend.domain import EventPage
from services.backend.hub import Hub, Subscription, ThreadEvents
from services.backend.tests.stage import Inbox, Stage, principal
from services.runtime.errors import InvalidArgument, NotFound, ResourceExhausted
from tools.datastores import ValkeyServer
from tools.processes.waiting import until

ANNA = principal("anna")
BERT = principal("bert")


async def follow(
    stage: Stage,
    hub: Hub,
    inbox: Inbox,
    thread_id: ThreadId,
    after: int | None = None,
    *,
    caller: Principal = ANNA,
) -> Subscription:
    """Subscribes an inbox to a thread; the confirmation stands in its frames."""
    with stage.call(caller) as call:
        context = call.context.narrowed(thread_id=thread_id)
    return await hub.subscribe(
        context, inbox, after, lambda head: inbox.frames.append({"sequence": f"head {head}"})
    )


@asynccontextmanager
async def open_hub(
    stage: Stage,
    events: ThreadEvents | None = None,
    *,
    look_seconds: float = 60.0,
    seldom_look_seconds: float = 60.0,
    maximum_subscriptions: int = 100,
) -> AsyncIterator[Hub]:
    """A hub that looks by itself so seldom that what arrives in time was woken."""
    hub = Hub(
        events or stage.events,
        stage.wake_ups,
        look_seconds=look_seconds,
        seldom_look_seconds=seldom_look_seconds,
        maximum_subscriptions=maximum_subscriptions,
    )
    yield hub
    await hub.stop()


class CountedEvents:
    """The stage's events, and how often they were looked for."""

    def __init__(self, events: ThreadEvents) -> None:
        self._events = events
        self.looks = 0
        self.longest = 0

    async def events_after(
        self, scope: DataScope, after_sequence: int, *, few: bool = False
    ) -> EventPage:
        """As it says, counted."""
        self.looks += 1
        page = await self._events.events_after(scope, after_sequence, few=few)
        self.longest = max(self.longest, len(page.events))
        return page

    async def head(self, scope: DataScope) -> int:
        """As it says."""
        return await self._events.head(scope)


class FailingWakeUps:
    """Wake-ups that fail as nobody expected."""

    connected = True

    @asynccontextmanager
    async def subscribed(
        self,
        scope: DataScope,  # noqa: ARG002 -- as the protocol has it
        wake: Callable[[bytes], None],  # noqa: ARG002
    ) -> AsyncIterator[None]:
        """Raises."""
        raise RuntimeError
        yield


async def test_a_room_outlives_a_failure_of_its_wake_ups(stage: Stage) -> None:
    """What fails in a way that nobody expected costs the wake-ups: the room looks by itself."""
    hub = Hub(stage.events, FailingWakeUps(), look_seconds=0.05)
    thread_id = await stage.thread(ANNA)
    inbox = Inbox()
    await follow(stage, hub, inbox, thread_id)
    await stage.send(thread_id, "hello", ANNA)
    await until(lambda: len(inbox.frames) == 6)
    await hub.stop()

    assert [1, 2, 3, 4, 5] == [frame["sequence"] for frame in inbox.frames[1:]]


async def test_a_subscriber_gets_what_is_committed_from_now_on(stage: Stage) -> None:
    """Without a sequence number the events before the subscription are not sent."""
    thread_id = await stage.thread(ANNA)
    await stage.send(thread_id, "before", ANNA)
    inbox = Inbox()
    async with open_hub(stage) as hub:
        stage.on_commit = lambda scope, _head: hub.wake(scope)
        await follow(stage, hub, inbox, thread_id)
        await stage.send(thread_id, "after", ANNA)
        await until(lambda: len(inbox.frames) >= 6)

    assert ["head 5", 6, 7, 8, 9, 10] == inbox.sequences
    assert "echo: after" == inbox.frames[4]["content"]


async def test_a_subscriber_resumes_after_a_sequence_number(stage: Stage) -> None:
    """What was missed comes first, then what is new: each once, in order."""
    thread_id = await stage.thread(ANNA)
    for number in range(3):
        await stage.send(thread_id, f"message {number}", ANNA)
    early, late = Inbox(), Inbox()
    async with open_hub(stage) as hub:
        stage.on_commit = lambda scope, _head: hub.wake(scope)
        await follow(stage, hub, early, thread_id, 0)
        await follow(stage, hub, late, thread_id, 12)
        await stage.send(thread_id, "new", ANNA)
        await until(lambda: len(early.frames) >= 21 and len(late.frames) >= 9)

    assert ["head 15", *range(1, 21)] == early.sequences
    assert ["head 15", *range(13, 21)] == late.sequences


async def test_a_long_absence_is_caught_up_in_small_steps(stage: Stage) -> None:
    """What a peer has not read yet is mostly in Postgres: each event once, a few at a time."""
    thread_id = await stage.thread(ANNA)
    for _ in range(60):
        await stage.send(thread_id, "x" * 4000, ANNA)
    counted, inbox = CountedEvents(stage.events), Inbox()
    async with open_hub(stage, counted) as hub:
        await follow(stage, hub, inbox, thread_id, 0)
        await until(lambda: len(inbox.frames) >= 301)

    assert ["head 300", *range(1, 301)] == inbox.sequences
    assert 0 < counted.longest < 150


async def test_two_processes_serve_one_thread(stage: Stage) -> None:
    """A hub that wrote nothing itself is woken through Redis."""
    thread_id = await stage.thread(ANNA)
    announcements = Announcements(stage.redis)
    await announcements.start()
    stage.on_commit = announcements.announce
    inbox = Inbox()
    async with open_hub(stage) as hub:
        await follow(stage, hub, inbox, thread_id)
        await stage.send(thread_id, "one", ANNA)
        await until(lambda: len(inbox.frames) >= 6)
    await announcements.stop()

    assert ["head 0", 1, 2, 3, 4, 5] == inbox.sequences


async def test_an_announcement_is_tried_again(stage: Stage, valkey: ValkeyServer) -> None:
    """What Redis did not take while it was away it is told when it is back."""
    scope = DataScope.thread(ANNA.tenant_id, ANNA.user_id, await stage.thread(ANNA))
    announcements = Announcements(stage.redis)
    await announcements.start()
    await asyncio.to_thread(valkey.process.kill)
    try:
        announcements.announce(scope, 7)
        await until(lambda: not announcements._waiting)
        await until(lambda: {scope: 7} == announcements._waiting)
    finally:
        await asyncio.to_thread(valkey.process.start)
    await until(lambda: "cmdstat_publish" in valkey.admin.info("commandstats"))
    await announcements.stop()


async def test_a_lost_wake_up_costs_time_only(stage: Stage) -> None:
    """Nobody tells the hub anything; it looks by itself."""
    thread_id = await stage.thread(ANNA)
    inbox = Inbox()
    async with open_hub(stage, look_seconds=0.1, seldom_look_seconds=0.1) as hub:
        await follow(stage, hub, inbox, thread_id)
        await stage.send(thread_id, "one", ANNA)
        await until(lambda: len(inbox.frames) >= 6)

    assert ["head 0", 1, 2, 3, 4, 5] == inbox.sequences


async def test_idle_threads_leave_postgres_to_others(stage: Stage) -> None:
    """While wake-ups come, followed threads are looked at seldom."""
    threads = [await stage.thread(ANNA) for _ in range(10)]
    counted, inboxes = CountedEvents(stage.events), [Inbox() for _ in threads]
    async with open_hub(stage, counted, look_seconds=0.02) as hub:
        stage.on_commit = lambda scope, _head: hub.wake(scope)
        for thread_id, inbox in zip(threads, inboxes, strict=True):
            await follow(stage, hub, inbox, thread_id)
        for _ in range(20):
            await stage.send(threads[0], "one", ANNA)
        await until(lambda: len(inboxes[0].frames) >= 1 + 20 * 5)

    # At most twice for each message, and twice for each thread while it is being opened.
    assert counted.looks <= 2 * 20 + 2 * len(threads)


async def test_without_wake_ups_threads_are_looked_at_often(
    stage: Stage, valkey: ValkeyServer
) -> None:
    """When the connection is lost the hub begins to look by itself at once."""
    thread_id = await stage.thread(ANNA)
    sent = await stage.send(thread_id, "one", ANNA)
    inbox = Inbox()
    async with open_hub(stage, look_seconds=0.1) as hub:
        await follow(stage, hub, inbox, thread_id)
        await until(lambda: stage.wake_ups.connected)
        await asyncio.to_thread(valkey.process.kill)
        await until(lambda: not stage.wake_ups.connected)
        try:
            with stage.call(ANNA) as call:
                # The run that the thread is in needs no Redis.
                await stage.conversations.send_message(
                    call, thread_id, "two", sent.message.run_id, usage_by_hop=False
                )
            await until(lambda: len(inbox.frames) >= 6)
        finally:
            await asyncio.to_thread(valkey.process.start)

    assert ["head 5", 6, 7, 8, 9, 10] == inbox.sequences


async def test_a_user_follows_so_many_threads_over_all_connections(stage: Stage) -> None:
    """The limit is the user's own; who leaves, or fails to enter, makes room."""
    mine, hers = [await stage.thread(ANNA) for _ in range(3)], await stage.thread(BERT)
    async with open_hub(stage, maximum_subscriptions=2) as hub:
        with pytest.raises(NotFound):
            await follow(stage, hub, Inbox(), hers, caller=ANNA)
        first = await follow(stage, hub, Inbox(), mine[0])
        await follow(stage, hub, Inbox(), mine[1])
        with pytest.raises(ResourceExhausted):
            await follow(stage, hub, Inbox(), mine[2])
        await follow(stage, hub, Inbox(), hers, caller=BERT)
        hub.unsubscribe(first)
        hub.unsubscribe(first)
        await follow(stage, hub, Inbox(), mine[2])
        with pytest.raises(ResourceExhausted):
            await follow(stage, hub, Inbox(), mine[0])


async def test_events_reach_their_thread_alone(stage: Stage) -> None:
    """Of four threads by two users, each follower gets one thread's events and no other."""
    threads = [(user, await stage.thread(user)) for user in (ANNA, ANNA, BERT, BERT)]
    inboxes = [Inbox() for _ in threads]
    async with open_hub(stage) as hub:
        stage.on_commit = lambda scope, _head: hub.wake(scope)
        for (user, thread_id), inbox in zip(threads, inboxes, strict=True):
            await follow(stage, hub, inbox, thread_id, caller=user)
        await asyncio.gather(
            *(stage.send(thread_id, "hi", user) for user, thread_id in threads for _ in range(3))
        )
        await until(lambda: all(len(inbox.frames) >= 16 for inbox in inboxes))

    for (_, thread_id), inbox in zip(threads, inboxes, strict=True):
        assert ["head 0", *range(1, 16)] == inbox.sequences
        assert {thread_id} == {frame["thread_id"] for frame in inbox.frames[1:]}


async def test_recipients_are_the_subscriptions_to_just_that_thread(stage: Stage) -> None:
    """The one place where events find their receivers knows tenant, user and thread."""
    thread_id = await stage.thread(ANNA)
    async with open_hub(stage) as hub:
        subscription = await follow(stage, hub, Inbox(), thread_id)
        own = DataScope.thread(ANNA.tenant_id, ANNA.user_id, thread_id)
        other = DataScope.thread(BERT.tenant_id, BERT.user_id, thread_id)

        assert (subscription,) == hub.recipients(own)
        assert () == hub.recipients(other)
        hub.unsubscribe(subscription)
        assert () == hub.recipients(own)


async def test_anothers_thread_cannot_be_followed(stage: Stage) -> None:
    """A thread that the context's user does not have is not found, and nothing is confirmed."""
    thread_id = await stage.thread(ANNA)
    inbox = Inbox()
    async with open_hub(stage) as hub:
        with pytest.raises(NotFound):
            await follow(stage, hub, inbox, thread_id, caller=BERT)
        with pytest.raises(NotFound):
            await follow(stage, hub, inbox, ThreadId("f" * 32), caller=ANNA)
        assert {} == hub._rooms

    assert [] == inbox.frames


async def test_a_sequence_number_beyond_the_head_is_refused(stage: Stage) -> None:
    """Who claims to have had what does not exist would miss what comes."""
    thread_id = await stage.thread(ANNA)
    async with open_hub(stage) as hub:
        with pytest.raises(InvalidArgument):
            await follow(stage, hub, Inbox(), thread_id, 1)


async def test_who_leaves_gets_nothing_more(stage: Stage) -> None:
    """After unsubscribing no frame is sent, in the middle of a resumption either."""
    thread_id = await stage.thread(ANNA)
    for _ in range(20):
        await stage.send(thread_id, "x", ANNA)
    stays, leaves = Inbox(), Inbox()
    async with open_hub(stage) as hub:
        stage.on_commit = lambda scope, _head: hub.wake(scope)
        await follow(stage, hub, stays, thread_id)
        subscription = await follow(stage, hub, leaves, thread_id, 0)
        hub.unsubscribe(subscription)
        had = len(leaves.frames)
        await stage.send(thread_id, "more", ANNA)
        await until(lambda: len(stays.frames) >= 6)
        assert 1 == len(hub._rooms)
        assert had == len(leaves.frames)


async def test_who_does_not_read_is_left_behind_and_the_others_are_not(stage: Stage) -> None:
    """A full connection is asked for room by its own reading, which ends it; others go on."""
    thread_id = await stage.thread(ANNA)
    slow, quick = Inbox(), Inbox()
    async with open_hub(stage) as hub:
        stage.on_commit = lambda scope, _head: hub.wake(scope)
        await follow(stage, hub, slow, thread_id)
        await follow(stage, hub, quick, thread_id)
        slow.has_room = False
        await stage.send(thread_id, "x", ANNA)
        await until(lambda: len(quick.frames) >= 6 and not slow.open)

    assert ["head 0"] == slow.sequences
    assert ["head 0", 1, 2, 3, 4, 5] == quick.sequences
