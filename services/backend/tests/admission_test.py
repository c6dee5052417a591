"""Who may open a WebSocket: tickets, first frames, origins, and limits before authentication."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from services.backend.tests.running import REPLICAS, Running
from tools.local.tests.running import LoggedIn
from tools.processes.waiting import LIMIT_SECONDS


@pytest.fixture
def anna(running: Running) -> LoggedIn:
    """A user of a tenant of this test's own."""
    return running.new_user(running.new_tenant())


async def test_a_ticket_opens_one_connection_once(running: Running, anna: LoggedIn) -> None:
    """A ticket authenticates at any replica, once, and stands in no log."""
    answer = running.request("POST", "/websocket-tickets", headers=anna.bearer)
    ticket = answer.json()["ticket"]
    query = f"?ticket={ticket}&client_id=tab-1"
    assert (201, "no-store") == (answer.status_code, answer.headers["cache-control"])
    assert 0 < answer.json()["expires_in"] <= 30
    assert not any(ticket.encode() in key for key in running.datastores.valkey.admin.keys("*"))
    async with running.stranger(REPLICAS[1], query) as client:
        ready = await client.next()
        await client.subscribe(running.thread(anna))
    async with running.stranger(REPLICAS[0], query) as client:
        assert 4401 == await client.close_code()

    assert ("ready", "tab-1") == (ready["type"], ready["websocket_client_id"])
    for name in REPLICAS:
        assert ticket not in running.supervisor[name].log_path.read_text()


async def test_a_ticket_is_for_a_log_in_that_lives(running: Running, anna: LoggedIn) -> None:
    """A ticket that was issued before the log-out opens nothing after it."""
    answer = running.request("POST", "/websocket-tickets", headers=anna.bearer).json()
    async with running.client(anna) as witness:
        running.log_out(anna)
        assert 4401 == await witness.close_code()
    async with running.stranger(query=f"?ticket={answer['ticket']}") as client:
        assert 4401 == await client.close_code()


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("?ticket=", 4401),
        ("?ticket=x", 4401),
        (f"?ticket={'A' * 43}", 4401),
        ("?ticket=a&ticket=b", 4400),
        ("?client_id=a", 4400),
        ("?token=abc", 4400),
        ("?ticket=a&token=b", 4400),
        ("?%ff", 4400),
        (f"?ticket={'A' * 43}&client_id=%00", 4400),
        (f"?ticket={'A' * 3000}", 1009),
    ],
)
async def test_a_query_that_is_no_ticket_is_refused(
    running: Running, query: str, code: int
) -> None:
    """A ticket that is none is a stranger's; another query is no protocol."""
    async with running.stranger(query=query) as client:
        assert code == await client.close_code()


@pytest.mark.parametrize(
    ("first", "code"),
    [
        ("", 4400),
        ("no JSON", 4400),
        ("[" * 50_000, 1009),
        ("[" * 5_000, 4400),
        ("NaN", 4400),
        ("[]", 4400),
        ("{}", 4400),
        (b"{}", 4400),
        ('{"type": "ping"}', 4400),
        ('{"type": "authenticate"}', 4400),
        ('{"type": "authenticate", "token": null}', 4400),
        ('{"type": "authenticate", "token": "a", "token": "b"}', 4400),
        ('{"type": "authenticate", "token": "a", "user_id": "b"}', 4400),
        ('{"type": "authenticate", "token": "\\ud800"}', 4400),
        ('{"type": "authenticate", "token": "a", "websocket_client_id": "null"}', 4400),
        ('{"type": "authenticate", "token": "a"}', 4401),
        ('{"type": "authenticate", "token": "' + "a" * 9_000 + '"}', 1009),
        ("x" * 200_000, 1009),
    ],
)
async def test_a_first_frame_that_authenticates_nobody_ends_the_connection(
    running: Running, first: str | bytes, code: int
) -> None:
    """Strangers get a close code and nothing else."""
    async with running.stranger() as client:
        with contextlib.suppress(ConnectionClosed):  # refused before its last byte
            await client.connection.send(first)
        assert code == await client.close_code()


async def test_who_says_nothing_is_ended_in_time(running: Running) -> None:
    """The deadline before authentication is kept: 1 s here."""
    begun = time.monotonic()
    async with running.stranger() as client:
        assert 4401 == await client.close_code()

    assert 0.9 < time.monotonic() - begun < 3


async def test_strangers_are_counted(running: Running, anna: LoggedIn) -> None:
    """Past ten who have not authenticated nobody else is let in, until they are gone."""
    async with asyncio.timeout(LIMIT_SECONDS), asyncio.TaskGroup() as strangers:
        arrived = [asyncio.Event() for _ in range(10)]

        async def idle(here: asyncio.Event) -> None:
            async with running.stranger() as client:
                here.set()
                await client.close_code()

        for here in arrived:
            strangers.create_task(idle(here))
        for here in arrived:
            await here.wait()
        with pytest.raises(InvalidStatus) as refusal:
            async with running.stranger():
                pass
    assert 429 == refusal.value.response.status_code
    async with running.client(anna) as client:
        assert "ready" == client.ready["type"]


async def test_only_allowed_origins_connect(running: Running, anna: LoggedIn) -> None:
    """A browser on another page is refused before it is accepted; the allowed page is not."""
    for origin in ("https://evil.example", "https://app.example.evil.example", "null"):
        with pytest.raises(InvalidStatus) as refusal:
            async with running.stranger(origin=origin):
                pass
        assert 403 == refusal.value.response.status_code
    async with running.stranger(origin="https://app.example") as client:
        await client.send(type="authenticate", token=anna.access_token)
        assert "ready" == (await client.next())["type"]


async def test_a_user_has_so_many_connections(running: Running, anna: LoggedIn) -> None:
    """The twenty-first connection of a user at one replica is closed with 1013."""
    async with asyncio.timeout(LIMIT_SECONDS), contextlib.AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(running.client(anna)) for _ in range(20)]
        async with running.stranger() as client:
            await client.send(type="authenticate", token=anna.access_token)
            assert 1013 == await client.close_code()
        await opened[0].send(type="ping")
        assert {"type": "pong"} == await opened[0].next()
