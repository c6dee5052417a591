"""Which socket receives which events: whole sequences, on two replicas, and nothing besides."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from contracts.context import ThreadId
from integration.clients.answers import Refused
from integration.clients.auth import AuthClient
from integration.clients.backend_grpc import BackendGrpcClient
from integration.clients.websocket import WebSocketTestClient
from integration.environment import Environment
from integration.fixtures.principals import Principals
from integration.isolation.hearing import HEARING_SECONDS, Stage, settle
from integration.isolation.stalled import memory_bytes, stalled

pytest_plugins = ["integration.fixtures.plugin"]
pytestmark = [pytest.mark.integration, pytest.mark.real_services]

NOWHERE = ThreadId("f" * 32)
LOGGED_OUT_SECONDS = 2.0
# A message of which each stalled socket's buffers hold a few, and never forty.
LONG = "x" * 16_000
STALLED = 10
LONG_MESSAGES = 40
# All of it in every stalled socket's buffer would be 20 MB.
GROWTH_BYTES = 8 * 1024 * 1024
CUT_OFF_SECONDS = 20.0
# More than the buffers hold, and so few that they are said long before somebody is cut off.
PAUSED_MESSAGES = 10


@pytest.fixture
def stage(environment: Environment, principals: Principals) -> Stage:
    """Conversations and ears, of people whom each test makes for itself."""
    return Stage(environment, principals)


async def test_one_socket_tells_two_threads_of_a_user_apart(stage: Stage) -> None:
    """Events of both come on the socket that follows both: each once, in its thread's order."""
    anna = await stage.principals.user()
    one, two = [await stage.conversation(anna) for _ in range(2)]
    async with stage.listening(one, two) as ear:
        await asyncio.gather(one.say("1", "2", "3"), two.say("1", "2", "3"))
        await settle(ear)

    assert {each.thread_id: each.events for each in (one, two)} == ear.by_thread


async def test_two_sockets_of_a_user_hear_one_thread_each(stage: Stage) -> None:
    """A socket hears the thread that it follows and nothing of the user's other one."""
    anna = await stage.principals.user()
    one, two = [await stage.conversation(anna) for _ in range(2)]
    async with stage.listening(one) as first, stage.listening(two) as second:
        await asyncio.gather(one.say("1", "2", "3"), two.say("1", "2", "3"))
        await settle(first, second)

    assert one.events == first.heard
    assert two.events == second.heard


async def test_equal_labels_of_two_users_of_a_tenant_meet_nothing(stage: Stage) -> None:
    """A connection's label routes nothing: neither user hears the other, on either replica."""
    anna = await stage.principals.user()
    bert = await stage.principals.user(anna.tenant)
    hers, his = await stage.conversation(anna), await stage.conversation(bert)
    async with (
        stage.listening(hers, label="tab-1") as first,
        stage.listening(his, label="tab-1") as second,
        stage.listening(his, label="tab-1", replica=1) as third,
    ):
        await asyncio.gather(hers.say("1", "2"), his.say("1", "2", replica=1))
        await settle(first, second, third)

    assert hers.events == first.heard
    assert his.events == second.heard
    assert his.events == third.heard


async def test_equal_login_names_of_two_tenants_meet_nothing(stage: Stage) -> None:
    """Users of two tenants with one name and one label hear their own tenant's thread alone."""
    people = [await stage.principals.user(login_name="anna") for _ in range(2)]
    one, two = [await stage.conversation(person) for person in people]
    async with (
        stage.listening(one, label="tab-1") as first,
        stage.listening(two, label="tab-1") as second,
    ):
        await asyncio.gather(one.say("1", "2"), two.say("1", "2"))
        await settle(first, second)

    assert one.events == first.heard
    assert two.events == second.heard


async def test_events_cross_replicas_and_no_threads(stage: Stage) -> None:
    """What is written at one replica, on whichever channel, is heard at the other, in order."""
    anna = await stage.principals.user()
    one, two = [await stage.conversation(anna) for _ in range(2)]
    environment = stage.environment
    async with (
        stage.listening(one, replica=1) as far,
        stage.listening(two, replica=1) as other,
        WebSocketTestClient(token=anna.token, base_url=environment.backend_urls[0]) as socket,
        BackendGrpcClient(environment.backend_grpc_targets[0], token=anna.token) as grpc,
    ):
        await one.say("by HTTP", replica=0)
        acknowledged = await socket.request_agent(one.thread_id, "by WebSocket")
        one.said("by WebSocket", acknowledged.run_id, acknowledged.sequence)
        sent = await grpc.send_message(one.thread_id, "by gRPC")
        one.said("by gRPC", sent.message.run_id, sent.sequence)
        await two.say("1", replica=0)
        await settle(far, other)

    assert one.events == far.heard
    assert two.events == other.heard
    assert list(range(1, 21)) == [event.sequence for event in far.heard]


async def test_resumed_socket_hears_the_gap_once_and_in_order(stage: Stage) -> None:
    """After a gap the same replica and the other one send what was missed, and nobody else's."""
    anna = await stage.principals.user()
    bert = await stage.principals.user(anna.tenant)
    hers, his = await stage.conversation(anna), await stage.conversation(bert)
    async with stage.listening(hers) as ear, stage.listening(his) as others:
        await hers.say("before")
        await ear.catch_up()
        await ear.client.close()
        await asyncio.gather(hers.say("missed", "missed too"), his.say("1", "2"))
        await ear.client.reconnect()
        await settle(ear, others)
        await ear.client.close()
        await asyncio.gather(hers.say("missed again", replica=1), his.say("3"))
        position = ear.heard[-1].sequence
        async with stage.listening(hers, replica=1, after_sequence=position) as resumed:
            await settle(resumed, others)

    assert hers.events == ear.heard + resumed.heard
    assert his.events == others.heard


async def test_unsubscribed_socket_hears_nothing_more_of_the_thread(stage: Stage) -> None:
    """Delivery stops with the answer; the socket's other thread and other sockets go on."""
    anna = await stage.principals.user()
    left, kept = [await stage.conversation(anna) for _ in range(2)]
    async with stage.listening(left, kept) as ear, stage.listening(left) as stays:
        await left.say("before")
        await kept.say("before")
        await asyncio.gather(ear.catch_up(), stays.catch_up())
        await ear.leave(left)
        until_then = list(left.events)
        await left.say("after", "and after that")
        await kept.say("after")
        await settle(ear, stays)

    assert {left.thread_id: until_then, kept.thread_id: kept.events} == ear.by_thread
    assert left.events == stays.heard


async def test_log_out_closes_the_sockets_of_its_log_in_alone(stage: Stage) -> None:
    """Both replicas close with 4401 within 2 s and admit it no more; another log-in hears on."""
    anna = await stage.principals.user()
    again = await stage.principals.log_in(anna.tenant, anna.login_name, anna.password)
    thread = await stage.conversation(again)
    async with (
        stage.listening(thread, person=anna) as first,
        stage.listening(thread, person=anna, replica=1) as second,
        stage.listening(thread) as stays,
    ):
        await thread.say("before")
        await asyncio.gather(*(ear.catch_up() for ear in (first, second, stays)))
        until_then = list(thread.events)
        async with AuthClient(stage.environment.auth_url) as auth:
            await auth.log_out(anna.token)
        codes = await asyncio.gather(
            *(ear.client.wait_closed(LOGGED_OUT_SECONDS) for ear in (first, second))
        )
        await thread.say("after")
        await settle(stays)
        for ear in (first, second):
            ear.take(await ear.client.collect_events(0.0))
            with pytest.raises(Refused) as refused:
                await ear.client.reconnect()
            assert "4401" == refused.value.answer.status

    assert [4401, 4401] == codes
    assert [until_then, until_then] == [first.heard, second.heard]
    assert thread.events == stays.heard


async def test_all_sockets_of_a_thread_hear_all_of_it(stage: Stage) -> None:
    """Eight sockets on two replicas hear the same sequence, each event once."""
    anna, stranger = await stage.principals.user(), await stage.principals.user()
    thread, other = await stage.conversation(anna), await stage.conversation(stranger)
    async with stage.listening(other) as outsider, contextlib.AsyncExitStack() as sockets:
        ears = [
            await sockets.enter_async_context(
                stage.listening(thread, replica=number % 2, label="tab-1")
            )
            for number in range(8)
        ]
        await asyncio.gather(thread.say("1", "2", "3"), other.say("1"))
        await settle(outsider, *ears)

    assert [thread.events] * 8 == [ear.heard for ear in ears]
    assert other.events == outsider.heard


async def test_slow_consumers_cost_little_and_miss_nothing(stage: Stage) -> None:
    """Who stops reading is cut off with 1013; memory stays, others hear on, a return has all."""
    anna = await stage.principals.user()
    bert = await stage.principals.user(anna.tenant)
    hers, his = await stage.conversation(anna), await stage.conversation(bert)
    backend = stage.environment.service_processes["backend-1"]
    async with (
        stage.listening(hers) as quick,
        stage.listening(his) as others,
        stalled(stage.environment, hers, STALLED) as slow,
    ):
        await settle(quick, others)
        sizes = [memory_bytes(backend.pid)]
        for number in range(LONG_MESSAGES):
            await asyncio.gather(hers.say(LONG), his.say(f"meanwhile {number}"))
            # Each is heard before the next is said: nobody waits for those who do not read.
            await asyncio.gather(quick.catch_up(), others.catch_up())
            sizes.append(memory_bytes(backend.pid))
        await settle(quick, others)

        assert max(sizes) - sizes[0] < GROWTH_BYTES
        codes = [await each.cut_off_with(backend.log_path, CUT_OFF_SECONDS) for each in slow]
        read = await slow[0].read_rest()
        async with stage.listening(hers, after_sequence=len(read)) as resumed:
            await resumed.catch_up()

    assert [1013] * STALLED == codes
    assert 0 < len(read) < len(hers.events)
    assert hers.events == read + resumed.heard
    assert hers.events == quick.heard
    assert his.events == others.heard


async def test_who_resumes_and_does_not_read_costs_little(stage: Stage) -> None:
    """A long absence is not read into the server's memory for a socket that takes nothing."""
    anna = await stage.principals.user()
    thread = await stage.conversation(anna)
    # The replica whose memory no other test here has filled and freed.
    backend = stage.environment.service_processes["backend-2"]
    async with stage.listening(thread, replica=1) as quick:
        await thread.say(*[LONG] * LONG_MESSAGES)
        await settle(quick)
        sizes = [memory_bytes(backend.pid)]
        async with stalled(stage.environment, thread, STALLED, replica=1):
            for number in range(10):
                await thread.say(f"meanwhile {number}")
                await quick.catch_up()
                sizes.append(memory_bytes(backend.pid))
            await settle(quick)

    assert max(sizes) - sizes[0] < GROWTH_BYTES
    assert thread.events == quick.heard


async def test_consumer_that_reads_again_in_time_has_missed_nothing(stage: Stage) -> None:
    """What was written while it did not read comes once and in order, and the socket stays open."""
    anna = await stage.principals.user()
    thread, other = [await stage.conversation(anna) for _ in range(2)]
    async with stalled(stage.environment, thread, 1) as (slow,), stage.listening(other) as ear:
        await asyncio.gather(thread.say(*[LONG] * PAUSED_MESSAGES), other.say("1"))
        read = await slow.read(len(thread.events), HEARING_SECONDS)
        await thread.say("after")
        read += await slow.read(5, HEARING_SECONDS)
        await settle(ear)
        answer = await slow.ping(HEARING_SECONDS)

    assert thread.events == read
    assert other.events == ear.heard
    assert "pong" == answer


async def test_known_thread_answers_a_stranger_as_none_does(stage: Stage) -> None:
    """No frame tells another user or tenant whether a thread exists, and nothing is heard."""
    anna = await stage.principals.user()
    hers = await stage.conversation(anna)
    colleague, outsider = await stage.principals.user(anna.tenant), await stage.principals.user()
    await hers.say("before")
    for person in (colleague, outsider):
        own = await stage.conversation(person)
        async with stage.listening(own) as ear, stage.listening(hers) as owner:
            for frame in (
                {"type": "subscribe"},
                {"type": "subscribe", "after_sequence": 0},
                {"type": "subscribe", "after_sequence": 99},
                {"type": "unsubscribe"},
                {"type": "agent_request", "message": "mine"},
            ):
                known, nowhere = [
                    await _refusal(ear.client, {**frame, "thread_id": thread_id})
                    for thread_id in (hers.thread_id, NOWHERE)
                ]
                assert nowhere == known
                assert "NOT_FOUND" == known[0]
            said = len(hers.events)
            await hers.say("secret")
            await settle(ear, owner)

        assert own.events == ear.heard
        assert hers.events[said:] == owner.heard


async def _refusal(client: WebSocketTestClient, frame: dict[str, object]) -> tuple[str, str]:
    with pytest.raises(Refused) as refused:
        await client.ask(frame, "nothing")
    return refused.value.code, refused.value.message
