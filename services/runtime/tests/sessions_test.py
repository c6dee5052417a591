from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from contracts.context import (
    ContextExpired,
    ContextWidened,
    Principal,
    RunId,
    ThreadId,
    UserExecutionContext,
)
from services.runtime.errors import NotFound, Unavailable
from services.runtime.postgres import Database
from services.runtime.redis import ScopedRedis
from services.runtime.sessions import SessionStore
from services.runtime.tests.probe import (
    Probe,
    add_thread,
    now,
    principal,
    thread_scope,
)
from tools.datastores import ValkeyServer

THREAD = ThreadId("thread-1")
_numbers = itertools.count(1)


def _new_id() -> str:
    return f"id-{next(_numbers)}"


@pytest.fixture
async def stores(probe: Probe, redis_url: str) -> AsyncIterator[list[SessionStore]]:
    """Two replicas, with the threads of two users."""
    databases = [Database(probe.url(), pool_size=3) for _ in range(2)]
    caches = [ScopedRedis(redis_url, "probe", pool_size=3) for _ in range(2)]
    for scope in (thread_scope(1), thread_scope(2), thread_scope(3, user=2)):
        await add_thread(databases[0], scope)
    yield [
        SessionStore(database, redis, clock=now, new_id=_new_id)
        for database, redis in zip(databases, caches, strict=True)
    ]
    for database in databases:
        await database.dispose()
    for redis in caches:
        await redis.close()


async def test_first_run_is_opened_and_then_continues(stores: list[SessionStore]) -> None:
    """Without a run it is the thread's first, and from then on that one, on every replica."""
    opened = [await store.open(principal(), THREAD) for store in (*stores, *stores)]

    assert 1 == len({context.run_id for context in opened})
    assert 4 == len({context.request_id for context in opened})


async def test_named_run_is_opened_and_becomes_the_current_one(
    stores: list[SessionStore],
) -> None:
    """Another run is opened, and whoever names none continues it."""
    first = await stores[0].open(principal(), THREAD)
    second = await stores[0].open(principal(), THREAD, RunId("run-b"))
    found = [(await store.open(principal(), THREAD)).run_id for store in (*stores, *stores)]

    assert first.run_id != second.run_id
    assert ["run-b"] * 4 == found


async def test_passing_back_what_came_out_changes_nothing(
    probe: Probe, stores: list[SessionStore]
) -> None:
    """The current run continues: the row stays as it is, also past the cache."""
    first = await stores[0].open(principal(), THREAD)
    before = probe.rows("select * from thread_contexts")
    for store in (*stores, *stores):
        again = await store.open(principal(), THREAD, first.run_id)
        assert _place(first) == _place(again)

    assert before == probe.rows("select * from thread_contexts")


def _place(context: UserExecutionContext) -> tuple[object, ...]:
    return (context.tenant_id, context.user_id, context.thread_id, context.run_id)


async def test_earlier_run_can_be_opened_again(stores: list[SessionStore]) -> None:
    """Naming an earlier run makes it the current one again."""
    runs = [RunId("run-a"), RunId("run-b"), RunId("run-a")]
    for run in runs:
        await stores[0].open(principal(), THREAD, run)

    assert "run-a" == (await stores[1].open(principal(), THREAD)).run_id


async def test_threads_and_users_have_sessions_of_their_own(stores: list[SessionStore]) -> None:
    """No thread continues another's run."""
    one = await stores[0].open(principal(), THREAD)
    two = await stores[0].open(principal(), ThreadId("thread-2"))
    hers = await stores[0].open(principal(2), ThreadId("thread-3"))

    assert 3 == len({one.run_id, two.run_id, hers.run_id})


@pytest.mark.parametrize("thread_id", [ThreadId("thread-3"), ThreadId("thread-9")])
@pytest.mark.parametrize("run_id", [None, RunId("run-a")])
async def test_thread_of_another_is_not_found(
    probe: Probe, stores: list[SessionStore], thread_id: ThreadId, run_id: RunId | None
) -> None:
    """Another's thread and one that does not exist get the same answer, cached or not."""
    await stores[0].open(principal(2), ThreadId("thread-3"))
    before = probe.rows("select * from thread_contexts")
    with pytest.raises(NotFound):
        await stores[0].open(principal(), thread_id, run_id)

    assert before == probe.rows("select * from thread_contexts")


async def test_user_is_the_principal(stores: list[SessionStore]) -> None:
    """`get_user_execution_context` serves its principal, and nobody else by whatever name."""
    sessions = stores[0].for_principal(principal())
    context = await sessions.get_user_execution_context(principal().user_id, THREAD)
    again = await sessions.get_user_execution_context(context.user_id, THREAD, context.run_id)

    assert _place(context) == _place(again)
    with pytest.raises(ContextWidened):
        await sessions.get_user_execution_context(principal(2).user_id, THREAD)


async def test_expired_principal_is_refused_before_any_statement(
    probe: Probe, stores: list[SessionStore]
) -> None:
    """Who has expired opens nothing."""
    valid = principal()
    expired = Principal(
        valid.tenant_id,
        valid.user_id,
        valid.session_id,
        valid.scopes,
        now() - timedelta(seconds=1),
    )
    with pytest.raises(ContextExpired):
        await stores[0].open(expired, THREAD)

    assert [] == probe.rows("select * from thread_contexts")


async def test_rolled_back_run_was_never_opened(
    probe: Probe, database: Database, stores: list[SessionStore]
) -> None:
    """A run that a transaction opened is gone with it, also from the cache."""
    first = await stores[0].open(principal(), THREAD)
    async with database.session(thread_scope()) as session:
        opened = await stores[0].open_in(session, principal(), THREAD, RunId("run-b"))
        again = await stores[0].open_in(session, principal(), THREAD)
        await session.rollback()
    found = [(await store.open(principal(), THREAD)).run_id for store in (*stores, *stores)]

    assert ("run-b", "run-b") == (opened.run_id, again.run_id)
    assert [first.run_id] * 4 == found
    assert [(first.run_id,)] == probe.rows("select current_run_id from thread_contexts")


async def test_uncommitted_run_is_served_to_nobody(
    database: Database, stores: list[SessionStore]
) -> None:
    """While a run is being opened nobody is served it, nor the one that it replaces."""
    await stores[0].open(principal(), THREAD)
    await stores[1].open(principal(), THREAD)  # the cache is warm
    async with database.transaction(thread_scope()) as session:
        await stores[0].open_in(session, principal(), THREAD, RunId("run-b"))
        waiting = asyncio.create_task(stores[1].open(principal(), THREAD))
        await asyncio.sleep(0.1)
        assert not waiting.done()

    assert "run-b" == (await waiting).run_id


async def test_without_redis_the_current_run_is_found(
    stores: list[SessionStore], valkey: ValkeyServer
) -> None:
    """Redis is a cache: without it the thread's run is read from Postgres; none is opened."""
    first = await stores[0].open(principal(), THREAD)
    valkey.process.kill()
    try:
        found = await stores[0].open(principal(), THREAD)
        with pytest.raises(Unavailable):
            await stores[0].open(principal(), THREAD, RunId("run-b"))
        still = await stores[1].open(principal(), THREAD)
    finally:
        valkey.process.start()

    assert first.run_id == found.run_id == still.run_id


class _Race:
    """Opens, reads and cancels on two replicas at once, and keeps what was read too late."""

    def __init__(self, stores: list[SessionStore]) -> None:
        self._stores = stores
        self._chance = random.Random(1)
        self._clock = itertools.count(1)
        self._started: dict[str, int] = {}
        self._ended: dict[str, int] = {}
        self.stale: list[str] = []
        self.reads = 0

    async def run(self) -> None:
        await self._open(RunId(_new_id()))
        await asyncio.gather(self._write(), self._disturb(), *(self._read() for _ in range(3)))

    async def _open(self, run: RunId) -> None:
        self._started[run] = next(self._clock)
        await self._chance.choice(self._stores).open(principal(), THREAD, run)
        self._ended[run] = next(self._clock)

    async def _write(self) -> None:
        for _ in range(15):
            await self._open(RunId(_new_id()))

    async def _read(self) -> None:
        for _ in range(80):
            acknowledged = dict(self._ended)
            run = (await self._chance.choice(self._stores).open(principal(), THREAD)).run_id
            assert run is not None
            self.reads += 1
            # Had this run been replaced by one that began after its end, and that was acknowledged
            # before this read began?
            end = self._ended.get(run, float("inf"))
            if any(self._started[other] > end for other in acknowledged):
                self.stale.append(run)

    async def _disturb(self) -> None:
        for _ in range(20):
            run = RunId(_new_id())
            task = asyncio.create_task(self._open(run))
            await asyncio.sleep(self._chance.uniform(0, 0.003))
            task.cancel()
            await asyncio.wait([task])
            # Whether it was opened nobody knows; by when another was, it is over.
            await self._open(RunId(_new_id()))
            self._ended[run] = next(self._clock)


async def test_nobody_reads_an_older_run_than_was_acknowledged(
    stores: list[SessionStore],
) -> None:
    """Who names no run gets no run that another, acknowledged before, has replaced."""
    race = _Race(stores)
    await race.run()

    assert [] == race.stale
    assert 240 == race.reads


async def test_cache_without_fences_is_noticed(
    stores: list[SessionStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same check finds a cache that is not told of a change before it is committed."""
    store_version = ScopedRedis.set_version

    async def fill_only(self: ScopedRedis, *names: Any, value: bytes, **options: Any) -> bool:
        return bool(value) and await store_version(self, *names, value=value, **options)

    monkeypatch.setattr(ScopedRedis, "set_version", fill_only)
    race = _Race(stores)
    await race.run()

    assert [] != race.stale
