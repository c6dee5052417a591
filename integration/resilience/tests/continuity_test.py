"""A session goes on: which run a thread is in, over restarts, replicas and hostile identifiers.

Restarts need a system of this module's own, which all its tests share; each leaves it running.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Final
from urllib.parse import quote

import pytest

from contracts.context import InvalidIdentifier, RunId, TenantId, ThreadId, UserId
from integration.clients.answers import Refused
from integration.clients.connections import HttpConnections
from integration.clients.websocket import WebSocketTestClient
from integration.environment import Environment
from integration.fixtures.principals import Principals
from integration.fixtures.seeding import seeded_programs
from integration.resilience.sessions import (
    Sessions,
    add_thread,
    heard,
    principal_of,
    resumed,
    run_of,
    session_store,
)
from services.runtime.errors import NotFound
from services.runtime.revocations import STALE_SECONDS
from tools.processes import SupervisedProcess

pytestmark = [pytest.mark.integration, pytest.mark.real_services]

LIMIT_SECONDS: Final = 60.0
NOWHERE: Final = ThreadId("f" * 32)

# Sloppy keys, patterns, comparisons or foldings would take some of these for others of them.
TWINS: Final = (
    *("a", "a:b", "a|b", "a%3Ab", "a\\b", "a b", "a "),
    *("*", "a*", "a?", "a[b]", "ab"),
    *("a%", "a_", "a'", "a';--", "${a}"),
    *("A", "\u00e9", "e\u0301", "\uff41", "\u0430", "ss", "\u00df", "a\u200b"),
    *("x" * 64, "x" * 63, "x" * 63 + "y", "\u00e9" * 32),
)
# Parts that meet at another place, had they been joined by a delimiter.
SPLICED: Final = (
    ("t:u", "v", "w"),
    ("t", "u:v", "w"),
    ("t", "u", "v:w"),
    ("t", "u", "v"),
    ("t", "u", "*"),
    ("t", "*", "v"),
    ("*", "u", "v"),
    ("tu", "v", "w"),
    ("t", "uv", "w"),
    ("T", "u", "v"),
)
NO_IDENTIFIERS: Final = (
    *("a\0", "\0", "a\nb", "a\u2028b", "x" * 65, "\u00e9" * 33, "x" * 5000),
    *(" ", "null", "None", "undefined"),
)


@pytest.fixture(scope="module")
def environment() -> Iterator[Environment]:
    """The whole system, whose parts these tests end and start again."""
    with asyncio.Runner() as runner:
        running = Environment(programs=seeded_programs(), embedded=True, durable=True)
        runner.run(running.__aenter__())
        try:
            yield running
        finally:
            runner.run(running.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def principals(environment: Environment) -> Principals:
    """People of that system."""
    return Principals(environment)


async def stop(environment: Environment, name: str) -> None:
    """Ends a process as it wishes to be ended, and starts it again."""
    await environment.control(name, SupervisedProcess.restart)


async def kill(environment: Environment, name: str) -> None:
    """Ends a process by SIGKILL, and starts it again."""
    await environment.control(name, SupervisedProcess.kill)
    await environment.control(name, SupervisedProcess.start)


Restart = Callable[[Environment, str], Awaitable[None]]


async def test_no_run_is_the_current_one_the_same_continues_and_another_opens(
    environment: Environment, principals: Principals
) -> None:
    """`get_user_execution_context` gets; it creates a first run, or the one that is named."""
    anna = await principals.user()
    one, two = [await principals.thread(anna) for _ in range(2)]
    sessions = Sessions(environment, anna)
    first = await sessions.current(one)
    elsewhere = await sessions.current(two)
    async with session_store(environment) as store:
        hers = store.for_principal(principal_of(anna.tenant_id, anna.user_id))
        found = await hers.get_user_execution_context(anna.user_id, one)
        same = await hers.get_user_execution_context(anna.user_id, one, found.run_id)
        named = await hers.get_user_execution_context(anna.user_id, one, RunId("another"))
    after_named = await sessions.current(one)
    continued = await sessions.send(one, "continued", after_named, replica=1)
    opened = await sessions.send(one, "opened")

    assert first != elsewhere
    assert (first, first) == (found.run_id, same.run_id)
    assert (one, one) == (found.thread_id, same.thread_id)
    assert found.request_id != same.request_id
    assert ("another", "another") == (named.run_id, after_named)
    assert "another" == continued.message.run_id
    assert opened.message.run_id not in {first, "another"}
    assert opened.message.run_id == await sessions.current(one)
    assert elsewhere == await sessions.current(two)


@pytest.mark.parametrize("restart", [stop, kill], ids=["stopped", "killed"])
@pytest.mark.parametrize("name", ["auth", "analytics", "backend-1", "backend-2"])
async def test_session_outlives_the_restart_of_a_service(
    environment: Environment, principals: Principals, name: str, restart: Restart
) -> None:
    """The same log-in, run and events as before, at both replicas and on a socket that resumes."""
    anna = await principals.user()
    thread_id = await principals.thread(anna)
    sessions = Sessions(environment, anna)
    run_id = await sessions.current(thread_id)
    urls = environment.backend_urls
    async with WebSocketTestClient(
        token=anna.token, base_url=urls[1] if name == "backend-2" else urls[0]
    ) as socket:
        await socket.subscribe(thread_id)
        await sessions.send(thread_id, "before", run_id)
        told = await heard(socket)
        ended = asyncio.get_running_loop().time()
        await restart(environment, name)
        # From then on nobody is served by what was heard of auth before: who is has heard it anew.
        await asyncio.sleep(ended + STALE_SECONDS - asyncio.get_running_loop().time())
        after = await sessions.current(thread_id)
        await sessions.send(thread_id, "after", after, replica=0)
        await resumed(socket)
        told += await heard(socket)
        await sessions.send(thread_id, "and again", after, replica=1)
        told += await heard(socket)

    expected = [
        *run_of("before", run_id, 1),
        *run_of("after", run_id, 6),
        *run_of("and again", run_id, 11),
    ]
    assert run_id == after
    assert expected == await sessions.told(thread_id)
    assert expected == [(each["sequence"], each["run_id"], each["content"]) for each in told]


async def test_session_outlives_a_redis_that_comes_back_empty(
    environment: Environment, principals: Principals
) -> None:
    """Redis remembers, Postgres decides: the run is the same without anything in Redis."""
    anna = await principals.user()
    thread_id, other = [await principals.thread(anna) for _ in range(2)]
    sessions = Sessions(environment, anna)
    run_id, others = await sessions.current(thread_id), await sessions.current(other)
    await kill(environment, "valkey")
    await asyncio.to_thread(environment.valkey.admin.flushall)
    after = await sessions.current(thread_id)
    await sessions.send(thread_id, "after", after)

    assert run_id == after == await sessions.current(thread_id)
    assert others == await sessions.current(other)
    assert run_of("after", run_id, 1) == await sessions.told(thread_id)


@pytest.mark.parametrize("restart", [stop, kill], ids=["stopped", "killed"])
async def test_session_outlives_the_restart_of_postgres(
    environment: Environment, principals: Principals, restart: Restart
) -> None:
    """The run and the events are there again, for a Redis that has forgotten them, too."""
    anna = await principals.user()
    thread_id = await principals.thread(anna)
    sessions = Sessions(environment, anna)
    run_id = await sessions.current(thread_id)
    await sessions.send(thread_id, "before", run_id)
    await restart(environment, "postgres")
    await asyncio.to_thread(environment.valkey.admin.flushall)
    after = await sessions.current(thread_id)
    await sessions.send(thread_id, "after", after, replica=1)

    expected = [*run_of("before", run_id, 1), *run_of("after", run_id, 6)]
    assert run_id == after == await sessions.current(thread_id)
    assert expected == await sessions.told(thread_id)


async def test_concurrent_opens_of_a_first_run_agree(
    environment: Environment, principals: Principals
) -> None:
    """Whoever asks first, at whichever replica: everybody is given one run, and keeps it."""
    anna = await principals.user()
    sessions = Sessions(environment, anna)
    threads = [await principals.thread(anna) for _ in range(6)]
    opened = await asyncio.gather(
        *(
            asyncio.gather(*(sessions.open(thread, replica=number % 2) for number in range(8)))
            for thread in threads
        )
    )
    current = [await sessions.current(thread) for thread in threads]

    assert [{run_id} for run_id in current] == [set(runs) for runs in opened]
    assert len(threads) == len(set(current))


async def test_concurrent_runs_end_with_the_one_that_was_committed_last(
    environment: Environment, principals: Principals
) -> None:
    """Each message opens a run; the last in the thread's order is the current one everywhere."""
    anna = await principals.user()
    sessions = Sessions(environment, anna)
    thread_id = await principals.thread(anna)
    for _ in range(3):
        sent, _ = await asyncio.gather(
            asyncio.gather(*(sessions.send(thread_id, "x", replica=n % 2) for n in range(8))),
            asyncio.gather(*(sessions.open(thread_id, replica=n % 2) for n in range(8))),
        )
        last = max(sent, key=lambda each: each.sequence)

        assert len(sent) == len({each.message.run_id for each in sent})
        assert last.message.run_id == await sessions.current(thread_id)


async def test_hostile_threads_and_runs_never_resume_each_other(
    environment: Environment, principals: Principals
) -> None:
    """Threads whose identifiers look alike have runs of their own, which no other one accepts."""
    anna = await principals.user()
    sessions = Sessions(environment, anna)
    threads = [ThreadId(name) for name in TWINS]
    for thread_id in threads:
        add_thread(environment, anna.tenant_id, anna.user_id, thread_id)
    async with session_store(environment) as store:
        principal = principal_of(anna.tenant_id, anna.user_id)
        for thread_id in threads:
            await store.open(principal, thread_id, RunId(thread_id))
    strange = zip(threads, [*threads[1:], threads[0]], strict=True)
    async with asyncio.timeout(LIMIT_SECONDS):
        found = [await sessions.current(thread_id) for thread_id in threads]
        codes = [await _code(sessions.send(here, "x", RunId(there))) for here, there in strange]
        for thread_id in threads:
            await sessions.send(thread_id, f"for {thread_id}", RunId(thread_id))
        told = [await sessions.told(thread_id) for thread_id in threads]

    assert [RunId(thread_id) for thread_id in threads] == found
    assert {"NOT_FOUND"} == set(codes)
    assert [run_of(f"for {each}", RunId(each), 1) for each in threads] == told


async def test_hostile_owners_never_resume_each_other(environment: Environment) -> None:
    """Tenant, user and thread do not run together, whatever they are made of."""
    scopes = [(TenantId(t), UserId(u), ThreadId(r)) for t, u, r in SPLICED]
    for scope in scopes:
        add_thread(environment, *scope)
    async with session_store(environment) as store, session_store(environment) as second:
        opened = [
            (await store.open(principal_of(tenant, user), thread)).run_id
            for tenant, user, thread in scopes
        ]
        again = [
            (await each.open(principal_of(tenant, user), thread)).run_id
            for each in (second, store)
            for tenant, user, thread in scopes
        ]
        with pytest.raises(NotFound):
            await store.open(principal_of(TenantId("t:u:v"), UserId("w")), ThreadId("w"))

    assert len(scopes) == len(set(opened))
    assert opened * 2 == again


async def test_what_is_no_identifier_is_refused(
    environment: Environment, principals: Principals
) -> None:
    """As a thread and as a run, by a typed refusal before anything is asked; none is created."""
    anna = await principals.user()
    thread_id = await principals.thread(anna)
    sessions = Sessions(environment, anna)
    run_id = await sessions.current(thread_id)
    messages = f"/threads/{thread_id}/messages"
    codes = {}
    async with HttpConnections(environment.backend_url) as http:
        for name in NO_IDENTIFIERS:
            path, body = (
                f"/threads/{quote(name, safe='')}/session",
                {"message": "x", "run_id": name},
            )
            codes[name] = (
                await _code(http.request("POST", path, token=anna.token)),
                await _code(http.request("POST", messages, token=anna.token, body=body)),
            )
            for kind in (ThreadId, RunId):
                with pytest.raises(InvalidIdentifier):
                    kind(name)

    assert dict.fromkeys(NO_IDENTIFIERS, ("INVALID_ARGUMENT", "INVALID_ARGUMENT")) == codes
    assert run_id == await sessions.current(thread_id)
    assert [] == await sessions.told(thread_id)


async def test_identifiers_of_others_neither_resume_nor_reveal(
    environment: Environment, principals: Principals
) -> None:
    """A colleague, another tenant's user: each is told what one is told of what exists nowhere."""
    anna = await principals.user()
    thread_id = await principals.thread(anna)
    owner = Sessions(environment, anna)
    run_id = await owner.current(thread_id)
    await owner.send(thread_id, "mine", run_id)
    for person in (await principals.user(anna.tenant), await principals.user()):
        stranger = Sessions(environment, person)
        own = await principals.thread(person)
        own_run = await stranger.current(own)
        answers = {
            (
                await _refusal(stranger.open(there, replica=replica)),
                await _refusal(stranger.send(there, "x", replica=replica)),
                await _refusal(stranger.send(there, "x", run, replica=replica)),
                await _refusal(stranger.send(own, "x", run, replica=replica)),
            )
            for there, run in ((thread_id, run_id), (NOWHERE, RunId("e" * 32)))
            for replica in range(2)
        }

        assert 1 == len(answers)
        assert {"NOT_FOUND"} == {code for code, _ in answers.pop()}
        assert own_run == await stranger.current(own)
        assert [] == await stranger.told(own)

    assert run_id == await owner.current(thread_id)
    assert run_of("mine", run_id, 1) == await owner.told(thread_id)


async def test_another_thread_of_the_user_does_not_take_her_run(
    environment: Environment, principals: Principals
) -> None:
    """A run belongs to one thread: in another one of hers it is no run."""
    anna = await principals.user()
    one, two = [await principals.thread(anna) for _ in range(2)]
    sessions = Sessions(environment, anna)
    run_id, other = await sessions.current(one), await sessions.current(two)
    codes = [await _code(sessions.send(two, "x", run_id, replica=replica)) for replica in range(2)]

    assert ["NOT_FOUND"] * 2 == codes
    assert (run_id, other) == (await sessions.current(one), await sessions.current(two))
    assert [] == await sessions.told(two)


async def _code(asked: Awaitable[object]) -> str:
    return (await _refusal(asked))[0]


async def _refusal(asked: Awaitable[object]) -> tuple[str, str]:
    with pytest.raises(Refused) as refused:
        await asked
    return refused.value.code, refused.value.message
