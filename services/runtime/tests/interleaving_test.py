"""Many users on few connections, cancelled anywhere: nobody is ever served another's rows."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.context import DataScope
from services.runtime import postgres
from services.runtime.postgres import Database
from services.runtime.postgres_errors import DatabaseError
from services.runtime.tests.probe import Probe, columns, thread_scope

WORKERS = 8
USERS = 4
OPERATIONS = 40

_READ = text("select tenant_id, user_id, thread_id from notes")
_WRITE = text(
    "insert into notes values"
    " (:tenant_id, :user_id, :thread_id, gen_random_uuid()::text, 'text', null)"
)
_FIRST_NOTES = (
    "insert into notes select 'tenant-1', 'user-1-' || u, 'thread-' || t, 'first', 'text', null"
    " from generate_series(1, 4) as u, generate_series(1, 2) as t"
)


@dataclass
class Tally:
    """What the workers met."""

    reads: int = 0
    rows: int = 0
    cancelled: int = 0
    unscoped_looks: int = 0
    foreign: list[str] = field(default_factory=list)


async def _read(session: AsyncSession, scope: DataScope, tally: Tally) -> None:
    rows = (await session.execute(_READ)).all()
    tally.reads += 1
    tally.rows += len(rows)
    own = tuple(columns(scope).values())
    tally.foreign += [f"{own} saw {tuple(row)}" for row in rows if tuple(row) != own]


async def _fail_in_savepoint(session: AsyncSession) -> None:
    try:
        async with session.begin_nested():
            await session.execute(text("select 1 / 0"))
    except DatabaseError:
        return


async def _operation(
    database: Database, scope: DataScope, tally: Tally, chance: random.Random
) -> None:
    kind = chance.choice(["read", "write", "rollback", "savepoint", "session", "error"])
    if kind == "session":
        async with database.session(scope) as session:
            await _read(session, scope, tally)
            await session.commit()
            await _read(session, scope, tally)
        return
    async with database.transaction(scope) as session:
        if kind in {"write", "rollback"}:
            await session.execute(_WRITE, columns(scope))
        if kind == "savepoint":
            await _fail_in_savepoint(session)
        await _read(session, scope, tally)
        if kind == "rollback":
            await session.rollback()
        if kind == "error":
            await session.execute(text("select 1 / 0"))


async def _worker(database: Database, seed: int, tally: Tally) -> None:
    chance = random.Random(seed)
    for _ in range(OPERATIONS):
        scope = thread_scope(chance.randint(1, 2), user=chance.randint(1, USERS))
        task = asyncio.create_task(_operation(database, scope, tally, chance))
        if chance.random() < 0.4:
            # Somewhere between the first round trip and the last.
            done, _ = await asyncio.wait([task], timeout=chance.uniform(0, 0.004))
            if not done:
                task.cancel()
                tally.cancelled += 1
        try:
            await task
        except (asyncio.CancelledError, DatabaseError):
            continue


async def _look_unscoped(database: Database, tally: Tally, ended: asyncio.Event) -> None:
    """Takes connections as the pool gives them: outside of a transaction nobody sees anything."""
    while not ended.is_set():
        async with database._engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            found = await driver.fetchval("select count(*) from notes")
        tally.unscoped_looks += 1
        if found:
            tally.foreign.append(f"no scope saw {found} rows")
        await asyncio.sleep(0.002)


async def _run(probe: Probe, pool_size: int, seed: int) -> Tally:
    database = Database(probe.url(), pool_size=pool_size)
    tally, ended = Tally(), asyncio.Event()
    probe.server.admin.execute(_FIRST_NOTES, database=probe.name)
    try:
        looker = asyncio.create_task(_look_unscoped(database, tally, ended))
        seeds = range(seed * 100, seed * 100 + WORKERS)
        await asyncio.gather(*(_worker(database, s, tally) for s in seeds))
        ended.set()
        await looker
    finally:
        await database.dispose()
    return tally


@pytest.mark.parametrize("pool_size", [1, 3])
@pytest.mark.parametrize("seed", [1, 2])
async def test_nobody_sees_another_scope(probe: Probe, pool_size: int, seed: int) -> None:
    """Under random interleavings and cancellations every row that is seen is the reader's own."""
    tally = await _run(probe, pool_size, seed)

    assert [] == tally.foreign
    assert tally.rows > 100
    assert tally.cancelled > 10
    assert tally.unscoped_looks > 10


@pytest.mark.parametrize("pool_size", [1, 3])
async def test_session_level_scope_is_noticed(
    probe: Probe, pool_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same check finds a scope that is bound to the session and outlives its transaction.

    The pool must let it: else giving the connection back ends what is left.
    """

    def bind_to_the_session(connection: Connection, scope: DataScope) -> None:
        for name, value in scope.settings().items():
            connection.exec_driver_sql("select set_config($1, $2, false)", (name, value))

    monkeypatch.setattr(postgres, "bind_scope", bind_to_the_session)
    monkeypatch.setattr(postgres, "forget_session", lambda *_: None)
    tally = await _run(probe, pool_size, 1)

    assert [] != tally.foreign


async def test_remembered_scope_is_noticed(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same check finds a connection that is bound once and taken for bound from then on."""
    bound: set[int] = set()

    def bind_once(connection: Connection, scope: DataScope) -> None:
        driver = id(connection.connection.driver_connection)
        if driver not in bound:
            bound.add(driver)
            for name, value in scope.settings().items():
                connection.exec_driver_sql("select set_config($1, $2, false)", (name, value))
        else:
            connection.exec_driver_sql("select 1")

    monkeypatch.setattr(postgres, "bind_scope", bind_once)
    monkeypatch.setattr(postgres, "forget_session", lambda *_: None)
    tally = await _run(probe, 1, 1)

    assert [] != [seen for seen in tally.foreign if not seen.startswith("no scope")]
