"""WebSockets of two replicas, as real processes beside a real auth."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from services.backend.frames import CONVERSATION
from services.backend.tests.running import REPLICAS, Client, Running
from services.runtime.websocket_frames import ClientFrame
from tools.local.tests.running import LoggedIn
from tools.processes.waiting import until

BOUND_SECONDS = 2.0
ABSENT = "f" * 32

HOSTILE: list[Any] = [
    None, 5, -1, 1.5, True, 2**63, 10**400, [], {}, ["x"],
    "", " ", "null", "undefined", "\0", "a\nb", "x" * 65, "ä" * 33, "x" * 20_000, "\u2028",
]  # fmt: skip
# What a value means nothing bad in: an absent optional field, a message of any words.
HARMLESS: dict[str, list[Any]] = {
    "message": ["null", "undefined", "a\nb", "x" * 65, "ä" * 33],
    "run_id": [None],
    "after_sequence": [None],
    # A trace is nobody's authority: a malformed one is ignored.
    "traceparent": [value for value in HOSTILE if value is None or isinstance(value, str)],
}


@pytest.fixture
def anna(running: Running) -> LoggedIn:
    """A user of a tenant of this test's own."""
    return running.new_user(running.new_tenant())


async def test_events_reach_the_clients_of_both_replicas(running: Running, anna: LoggedIn) -> None:
    """A message sent at one replica arrives at the other, too: each event once, in order."""
    thread_id = running.thread(anna)
    async with running.client(anna) as one, running.client(anna, REPLICAS[1]) as two:
        await two.subscribe(thread_id)
        for number in range(3):
            await one.send(type="agent_request", thread_id=thread_id, message=f"message {number}")
        first, second = await one.events(15), await two.events(15)

    assert list(range(1, 16)) == [event["sequence"] for event in first]
    assert first == second
    assert "You said: message 2" == first[-1]["content"]


async def test_an_acknowledged_message_is_committed(running: Running, anna: LoggedIn) -> None:
    """What is acknowledged over WebSocket is read over HTTP at once, at the other replica."""
    thread_id = running.thread(anna)
    async with running.client(anna) as client:
        await client.send(type="agent_request", thread_id=thread_id, message="hello")
        acknowledged = await client.next("acknowledged")
    path = f"/threads/{thread_id}/messages"
    answer = running.request("GET", path, REPLICAS[1], headers=anna.bearer).json()

    assert ["hello", "You said: hello"] == [m["content"] for m in answer["messages"]]
    assert {acknowledged["run_id"]} == {message["run_id"] for message in answer["messages"]}
    assert (thread_id, 5) == (acknowledged["thread_id"], acknowledged["sequence"])


async def test_a_client_resumes_where_it_was(running: Running, anna: LoggedIn) -> None:
    """After a loss it says what it has had, at any replica, and gets the rest and what is new."""
    thread_id = running.thread(anna)
    async with running.client(anna) as client:
        await client.subscribe(thread_id)
        running.send(anna, thread_id, "one")
        await client.events(5)
    running.send(anna, thread_id, "two")
    async with running.client(anna, REPLICAS[1]) as client:
        confirmed = await client.subscribe(thread_id, after_sequence=5)
        running.send(anna, thread_id, "three")
        events = await client.events(10)

    assert 10 == confirmed["head_sequence"]
    assert list(range(6, 16)) == [event["sequence"] for event in events]


async def test_a_connection_follows_many_threads(running: Running, anna: LoggedIn) -> None:
    """Events of several threads come on one connection, each thread's in order, until it leaves."""
    threads = [running.thread(anna) for _ in range(3)]
    async with running.client(anna) as client:
        for thread_id in threads:
            await client.subscribe(thread_id)
        for thread_id in threads:
            running.send(anna, thread_id, thread_id)
        events = await client.events(15)
        await client.send(type="unsubscribe", thread_id=threads[0])
        await client.next("unsubscribed")
        for thread_id in threads:
            running.send(anna, thread_id, "again")
        later = await client.events(10)

    for thread_id in threads:
        own = [event for event in events if event["thread_id"] == thread_id]
        assert [1, 2, 3, 4, 5] == [event["sequence"] for event in own]
        assert f"You said: {thread_id}" == own[-1]["content"]
    assert set(threads[1:]) == {event["thread_id"] for event in later}


async def test_equal_labels_of_two_users_meet_nothing(running: Running) -> None:
    """A client's label is a label under its user: another's equal one receives nothing of hers."""
    administrator = running.new_tenant()
    users = [running.new_user(administrator, name) for name in ("anna", "bert")]
    threads = [running.thread(user) for user in users]
    async with (
        running.client(users[0], label="same") as one,
        running.client(users[1], label="same") as two,
    ):
        clients = (one, two)
        assert ["same", "same"] == [c.ready["websocket_client_id"] for c in clients]
        assert one.ready["connection_id"] != two.ready["connection_id"]
        for client, thread_id in zip(clients, threads, strict=True):
            await client.send(type="agent_request", thread_id=thread_id, message=thread_id)
        events = [await client.events(5) for client in clients]
        await two.send(type="ping")
        assert {"type": "pong"} == await two.next()

    for found, thread_id in zip(events, threads, strict=True):
        assert {thread_id} == {event["thread_id"] for event in found}


async def test_anothers_thread_and_none_get_one_answer(running: Running) -> None:
    """No frame tells whether another's thread exists, and nothing of it arrives."""
    administrator = running.new_tenant()
    anna, bert = (running.new_user(administrator, name) for name in ("anna", "bert"))
    thread_id = running.thread(anna)
    async with running.client(bert) as client:
        for frame in (
            {"type": "subscribe"},
            {"type": "subscribe", "after_sequence": 0},
            {"type": "unsubscribe"},
            {"type": "agent_request", "message": "mine"},
        ):
            answers = []
            for asked in (thread_id, ABSENT):
                await client.send(**frame, thread_id=asked)
                answer = await client.next()
                assert 32 == len(answer.pop("request_id"))
                answers.append(answer)
            assert {"NOT_FOUND"} == {answer["code"] for answer in answers}
            assert answers[0] == answers[1]
        running.send(anna, thread_id, "secret")
        await client.send(type="ping")
        assert {"type": "pong"} == await client.next()


async def test_a_connection_follows_so_many_threads(running: Running, anna: LoggedIn) -> None:
    """The eleventh thread is refused; the ten go on."""
    threads = [running.thread(anna) for _ in range(11)]
    async with running.client(anna) as client:
        for thread_id in threads[:10]:
            await client.subscribe(thread_id)
        await client.send(type="subscribe", thread_id=threads[10])
        refused = await client.next()
        running.send(anna, threads[9], "still here")
        events = await client.events(5)

    assert ("error", "RESOURCE_EXHAUSTED") == (refused["type"], refused["code"])
    assert {threads[9]} == {event["thread_id"] for event in events}


async def test_a_frame_continues_its_callers_trace(running: Running, anna: LoggedIn) -> None:
    """The log lines of a frame's work say its trace and its context, its label included."""
    thread_id = running.thread(anna)
    trace = uuid.uuid4().hex
    async with running.client(anna, label="tab-1") as client:
        await client.send(
            type="agent_request",
            thread_id=thread_id,
            message="canarymessage",
            traceparent=f"00-{trace}-b7ad6b7169203331-01",
        )
        acknowledged = await client.next("acknowledged")
    lines = [line for line in running.log_lines(REPLICAS[0]) if line.get("trace_id") == trace]

    assert ["message acknowledged", "answered"] == [line["event"] for line in lines]
    assert {
        "user_id": anna.user_id,
        "tenant_id": anna.tenant_id,
        "thread_id": thread_id,
        "run_id": acknowledged["run_id"],
        "request_id": acknowledged["request_id"],
        "websocket_client_id": "tab-1",
    }.items() <= lines[0].items()
    assert "canarymessage" not in running.supervisor[REPLICAS[0]].log_path.read_text()


async def test_a_log_out_ends_connections_at_every_replica(
    running: Running, anna: LoggedIn
) -> None:
    """Both replicas close with 4401 within 2 s of the log-out; another log-in of hers stays."""
    again = running.log_in(anna.tenant, anna.login_name)
    async with (
        running.client(anna) as one,
        running.client(anna, REPLICAS[1]) as two,
        running.client(again) as stays,
    ):
        running.log_out(anna)
        begun = time.monotonic()
        codes = await asyncio.gather(one.close_code(), two.close_code())
        elapsed = time.monotonic() - begun
        await stays.send(type="ping")
        assert {"type": "pong"} == await stays.next()

    assert {4401} == set(codes)
    assert elapsed < BOUND_SECONDS
    async with running.stranger() as client:
        await client.send(type="authenticate", token=anna.access_token)
        assert 4401 == await client.close_code()


async def test_a_slow_consumer_is_ended_and_others_are_not(
    running: Running, anna: LoggedIn
) -> None:
    """Who does not read while megabytes come is cut off with 1013; others have them all."""
    thread_id = running.thread(anna)
    messages = 30
    async with running.client(anna) as quick, running.client(anna, buffer_bytes=4096) as slow:
        await quick.subscribe(thread_id)
        await slow.subscribe(thread_id)
        slow.connection.transport.pause_reading()
        connection_id = slow.ready["connection_id"]

        async def send() -> None:
            for _ in range(messages):
                await quick.send(type="agent_request", thread_id=thread_id, message="x" * 16_000)

        _, events = await asyncio.gather(send(), quick.events(5 * messages))
        await until(lambda: _ended(running, connection_id))

    assert list(range(1, 5 * messages + 1)) == [event["sequence"] for event in events]
    assert [1013] == _ended(running, connection_id)


async def test_bytes_and_no_json_end_an_authenticated_connection(
    running: Running, anna: LoggedIn
) -> None:
    """What is not the protocol ends the connection, with 4400; too much of it with 1009."""
    for text, code in (
        (b"{}", 4400),
        ("{", 4400),
        ('{"a": 1, "a": 2}', 4400),
        ("x" * 200_000, 1009),
    ):
        async with running.client(anna) as client:
            await client.connection.send(text)
            assert code == await client.close_code()


async def test_a_frame_that_is_refused_is_answered_and_the_connection_goes_on(
    running: Running, anna: LoggedIn
) -> None:
    """Bad values in every field of every frame: a typed error, and a pong afterwards."""
    thread_id = running.thread(anna)
    async with running.client(anna) as client:
        for frame in hostile_frames(thread_id):
            await client.send(**frame)
            answer = await client.next()
            assert ("error", "INVALID_ARGUMENT") == (answer["type"], answer["code"]), frame
            assert {"type", "code", "message", "request_id"} == set(answer)
            assert "x" * 10 not in answer["message"]
            await _still_serves(client)


def hostile_frames(thread_id: str) -> Iterator[dict[str, Any]]:
    """Every frame of the registry with each of its fields spoilt, left out, or one too many."""
    for value in (*HOSTILE, "unknown"):
        yield {"type": value}
    yield {}
    yield {"type": "authenticate", "token": "x"}
    kinds: dict[str, type[ClientFrame]] = {**CONVERSATION.frames}
    for kind, model in kinds.items():
        sound: dict[str, Any] = {
            "type": kind,
            "thread_id": thread_id,
            "message": "hello",
            "run_id": "a-run",
            "after_sequence": 0,
            "traceparent": "00",
        }
        frame = {name: sound[name] for name in model.model_fields}
        yield {**frame, "user_id": "x"}
        for name, field in model.model_fields.items():
            if field.is_required():
                yield {key: value for key, value in frame.items() if key != name}
            if name != "type":
                for value in HOSTILE:
                    # `True == 1`: compared by type, too.
                    if (type(value), value) not in [(type(v), v) for v in HARMLESS.get(name, [])]:
                        yield {**frame, name: value}


def _ended(running: Running, connection_id: str) -> list[object]:
    return [
        line["code"]
        for line in running.log_lines(REPLICAS[0])
        if line.get("event") == "websocket closed" and line["connection_id"] == connection_id
    ]


async def _still_serves(client: Client) -> None:
    await client.send(type="ping")
    assert {"type": "pong"} == await client.next()
