"""What clients see when a replica stops or dies, a log-in expires, and auth or Redis are gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from services.backend.tests.running import REPLICAS, Running
from services.backend.tests.running import running_backend as run_backend
from tools.datastores import Datastores
from tools.local.tests.running import LoggedIn, error_of
from tools.processes.waiting import until

ONE, TWO = REPLICAS


@pytest.fixture
def anna(running: Running) -> LoggedIn:
    """A user of a tenant of this test's own."""
    return running.new_user(running.new_tenant())


@pytest.fixture
def hasty(datastores: Datastores) -> Iterator[Running]:
    """One replica whose log-ins expire after 5 s."""
    more = {"ACCESS_TOKEN_SECONDS": "5"}
    with run_backend(datastores, auth=more, replicas=(ONE,)) as running:
        yield running


async def test_a_replica_that_stops_says_so(running: Running, anna: LoggedIn) -> None:
    """SIGTERM closes connections with 1001, and the process ends by itself with code 0."""
    replica = running.supervisor[TWO]
    async with running.client(anna, TWO) as client:
        await client.subscribe(running.thread(anna))
        stopping = asyncio.to_thread(replica.stop)
        code, _ = await asyncio.gather(client.close_code(), stopping)
    exit_code = replica.exit_code
    await asyncio.to_thread(replica.restart)
    async with running.client(anna, TWO) as client:
        assert "ready" == client.ready["type"]

    assert (1001, 0) == (code, exit_code)


async def test_what_was_acknowledged_survives_a_killed_replica(
    running: Running, anna: LoggedIn
) -> None:
    """A client of a replica that is killed resumes at the other one: all of it, each once."""
    thread_id = running.thread(anna)
    replica = running.supervisor[ONE]
    async with running.client(anna, ONE) as client:
        await client.subscribe(thread_id)
        for number in range(5):
            await client.send(type="agent_request", thread_id=thread_id, message=f"{number}")
            await client.next("acknowledged")
        await asyncio.to_thread(replica.kill)
        assert 1006 == await client.close_code()
    async with running.client(anna, TWO) as client:
        await client.subscribe(thread_id, after_sequence=0)
        events = await client.events(25)
    await asyncio.to_thread(replica.restart)

    assert list(range(1, 26)) == [event["sequence"] for event in events]
    assert "You said: 4" == events[-1]["content"]


async def test_a_session_continues_everywhere(running: Running, anna: LoggedIn) -> None:
    """Both replicas give one run, also when one was killed, and Redis came back empty."""
    thread_id = running.thread(anna)

    def run_at(name: str) -> str:
        path = f"/threads/{thread_id}/session"
        return str(running.request("POST", path, name, headers=anna.bearer).json()["run_id"])

    runs = [run_at(ONE), run_at(TWO)]
    await asyncio.to_thread(running.supervisor[ONE].kill)
    runs.append(run_at(TWO))
    await asyncio.to_thread(running.supervisor[ONE].restart)
    await asyncio.to_thread(running.datastores.valkey.kill)
    await asyncio.to_thread(running.datastores.valkey.process.start)
    await until(lambda: running.request("GET", "/health").status_code == 200)
    runs.append(run_at(ONE))

    assert 1 == len(set(runs))


async def test_a_log_in_that_expires_ends_its_connections(hasty: Running) -> None:
    """A connection lives no longer than the token that it began with."""
    user = hasty.new_user(hasty.new_tenant())
    begun = time.monotonic()
    async with hasty.client(user) as client:
        assert 4401 == await client.close_code()

    assert 3 < time.monotonic() - begun < 5 + 2


async def test_nobody_is_served_while_auth_does_not_answer(
    running: Running, anna: LoggedIn
) -> None:
    """Where nobody knows whether log-ins have ended, connections close and calls are refused."""
    auth = running.supervisor["auth"]
    async with running.client(anna) as client:
        await asyncio.to_thread(auth.pause)
        begun = time.monotonic()
        try:
            assert 1013 == await client.close_code()
            elapsed = time.monotonic() - begun
            refused = running.request("GET", "/threads", headers=anna.bearer)
        finally:
            await asyncio.to_thread(auth.resume)
    await until(lambda: running.request("GET", "/threads", headers=anna.bearer).status_code == 200)

    assert elapsed < 4
    assert (503, "UNAVAILABLE") == (refused.status_code, refused.json()["error"]["code"])


async def test_a_lost_wake_up_connection_costs_time_only(running: Running, anna: LoggedIn) -> None:
    """The server drops all who listen: events still arrive at the other replica, and go on to."""
    thread_id = running.thread(anna)
    async with running.client(anna, TWO) as client:
        await client.subscribe(thread_id)
        running.datastores.valkey.admin.client_kill_filter(_type="pubsub")
        running.send(anna, thread_id, "one", ONE)
        first = await client.events(5)
        running.send(anna, thread_id, "two", ONE)
        second = await client.events(5)

    assert list(range(1, 11)) == [event["sequence"] for event in (*first, *second)]


async def test_without_redis_reading_goes_on_and_writing_is_refused(
    running: Running, anna: LoggedIn
) -> None:
    """Transcripts come from Postgres; a message is refused whole. Later everything goes on."""
    thread_id = running.thread(anna)
    running.send(anna, thread_id, "one")
    path = f"/threads/{thread_id}/messages"
    valkey = running.datastores.valkey
    async with running.client(anna, TWO) as client:
        await client.subscribe(thread_id)
        await asyncio.to_thread(valkey.kill)
        read = running.request("GET", path, headers=anna.bearer)
        refused = running.request("POST", path, headers=anna.bearer, json={"message": "lost"})
        unready = running.request("GET", "/health")
        await asyncio.to_thread(valkey.process.start)
        await until(lambda: running.request("GET", "/health").status_code == 200)
        running.send(anna, thread_id, "two")
        events = await client.events(5)

    assert ["one", "You said: one"] == [m["content"] for m in read.json()["messages"]]
    assert (503, "UNAVAILABLE") == error_of(refused)
    assert (503, {"postgres": True, "redis": False, "revocations": True}) == (
        unready.status_code,
        unready.json()["checks"],
    )
    assert [6, 7, 8, 9, 10] == [event["sequence"] for event in events]
    assert "You said: two" == events[-1]["content"]


async def test_a_restarted_postgres_is_used_again(running: Running, anna: LoggedIn) -> None:
    """Connections that went with it are replaced; an open WebSocket goes on."""
    thread_id = running.thread(anna)
    async with running.client(anna, TWO) as client:
        await client.subscribe(thread_id)
        await asyncio.to_thread(running.datastores.postgres.restart)
        await until(lambda: running.request("GET", "/health").status_code == 200)
        running.send(anna, thread_id, "one")
        events = await client.events(5)

    assert [1, 2, 3, 4, 5] == [event["sequence"] for event in events]
