"""Requests of several users over one connection to a backend with one database connection.

The environment is this file's own: the backend has one replica, and a pool of one.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Final
from urllib.parse import urlsplit

import pytest

from integration.clients.backend import BackendClient
from integration.clients.connections import HttpConnections
from integration.environment import Environment
from integration.fixtures.principals import Principals
from integration.fixtures.seeding import seeded_programs
from integration.isolation.owners import Owner, Owners, reply, settle_in

pytest_plugins = ["integration.fixtures.plugin"]
pytestmark = [pytest.mark.integration, pytest.mark.real_services]

ROUNDS: Final = 12
LIMIT_SECONDS: Final = 30.0


@pytest.fixture(scope="session")
def environment() -> Iterator[Environment]:
    """The system with one backend process that has one connection to its database."""
    with asyncio.Runner() as runner:
        running = Environment(
            programs=seeded_programs(),
            replicas=1,
            settings={"backend": {"POSTGRES_POOL_SIZE": "1"}},
        )
        runner.run(running.__aenter__())
        try:
            yield running
        finally:
            runner.run(running.__aexit__(None, None, None))


@pytest.fixture(scope="session")
def owners(environment: Environment, principals: Principals) -> Owners:
    """Four owners, each with one message."""
    return asyncio.run(settle_in(environment, principals))


def _request(owner: Owner, path: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nhost: backend\r\n"
        f"authorization: Bearer {owner.person.token}\r\n\r\n"
    ).encode()


@asynccontextmanager
async def _connected(
    environment: Environment,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    address = urlsplit(environment.backend_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, list[dict[str, str]]]]:
    """One answer's status and JSON (RFC 9112)."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.partition("content-length:")[2].partition("\r\n")[0])
    return int(head.split(" ", 2)[1]), json.loads(await reader.readexactly(length))


def _messages(owner: Owner) -> str:
    return f"/threads/{owner.thread_id}/messages"


async def _assert_own(environment: Environment, owners: Sequence[Owner]) -> None:
    """Each has her own threads and messages, over one connection."""
    async with HttpConnections(environment.backend_url, connections=1) as connections:
        for owner in owners:
            backend = BackendClient(connections, token=owner.person.token)
            messages = await backend.messages(owner.thread_id)
            assert [owner.word, reply(owner)] == [each.content for each in messages.messages][:2]
            titles = {thread.title for thread in (await backend.threads()).threads}
            own = {o.word for o in owners if o.person.user_id == owner.person.user_id}
            assert own == titles & {o.word for o in owners}


async def test_users_in_turn_over_one_connection_have_their_own(
    environment: Environment, owners: Owners
) -> None:
    """The same requests of four owners in turn, kept alive: lists, transcripts and events alike."""
    async with HttpConnections(environment.backend_url, connections=1) as connections:
        for _ in range(ROUNDS):
            for owner in owners.everybody:
                backend = BackendClient(connections, token=owner.person.token)
                events = await backend.events(owner.thread_id)
                assert {owner.thread_id} == {event.thread_id for event in events.events}
    for _ in range(3):
        await _assert_own(environment, owners.everybody)


async def test_pipelined_requests_of_several_users_have_their_own(
    environment: Environment, owners: Owners
) -> None:
    """Requests that are sent before the last was answered get each its own user's answer."""
    async with asyncio.timeout(LIMIT_SECONDS), _connected(environment) as (reader, writer):
        for _ in range(ROUNDS):
            for owner in owners.everybody:
                writer.write(_request(owner, _messages(owner)))
            for owner in owners.everybody:
                status, body = await _answer(reader)
                assert (200, owner.word) == (status, body["messages"][0]["content"])


async def test_request_for_anothers_thread_between_her_own_finds_none(
    environment: Environment, owners: Owners
) -> None:
    """Right behind its owner's request, on the same connection, a thread is not found."""
    async with asyncio.timeout(LIMIT_SECONDS), _connected(environment) as (reader, writer):
        for other in owners.others[1:]:
            for path in (_messages(owners.owner), f"/threads/{owners.owner.thread_id}/events"):
                writer.write(_request(owners.owner, path))
                writer.write(_request(other, path))
                assert 200 == (await _answer(reader))[0]
                status, body = await _answer(reader)
                assert 404 == status
                assert owners.owner.word not in str(body)


async def test_many_at_once_over_one_database_connection_have_their_own(
    environment: Environment, owners: Owners
) -> None:
    """Writes and reads of all owners at once, one database connection: each acknowledged is own."""

    async def work(owner: Owner) -> list[str]:
        said = [f"{owner.word} {number} {secrets.token_hex(4)}" for number in range(4)]
        async with BackendClient(environment.backend_url, token=owner.person.token) as backend:
            for message in said:
                sent = await backend.send_message(owner.thread_id, message)
                assert (owner.thread_id, message) == (sent.message.thread_id, sent.message.content)
            messages = await backend.messages(owner.thread_id)
        foreign = [m.content for m in messages.messages if owner.word not in m.content]
        assert [] == foreign
        return [m for m in said if m not in {each.content for each in messages.messages}]

    async with asyncio.timeout(LIMIT_SECONDS):
        lost = await asyncio.gather(*(work(owner) for owner in owners.everybody))

    assert [[], [], [], []] == lost


@pytest.mark.parametrize("when", ["in the request", "before the answer", "in the answer"])
async def test_disconnected_clients_leave_nothing_to_the_next(
    environment: Environment, owners: Owners, when: str
) -> None:
    """After clients that go in the middle of a request the next one is served her own."""
    chance = Random(when)
    async with asyncio.timeout(LIMIT_SECONDS):
        for _ in range(ROUNDS):
            owner = chance.choice(owners.everybody)
            request = _request(owner, chance.choice([_messages(owner), "/threads"]))
            async with _connected(environment) as (reader, writer):
                if when == "in the request":
                    request = request[: chance.randrange(1, len(request))]
                writer.write(request)
                await writer.drain()
                if when == "in the answer":
                    await reader.readexactly(chance.randrange(1, 100))
                if chance.random() < 0.5:
                    writer.transport.abort()
            other = chance.choice([each for each in owners.everybody if each is not owner])
            async with _connected(environment) as (reader, writer):
                writer.write(_request(other, _messages(other)))
                status, body = await _answer(reader)
                assert (200, other.word) == (status, body["messages"][0]["content"])
        await _assert_own(environment, owners.everybody)
