from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from services.runtime.migrations import backfill_on, further_role, run_migrations
from services.runtime.tests.probe import MIGRATIONS, OWNER, SERVICE, Probe

_FILL = (
    "insert into notes select 'tenant-' || t, 'user-' || t || '-' || u, 'thread-1', 'note-' || n,"
    " repeat('x', n), null from generate_series(1, 3) t, generate_series(1, 4) u,"
    " generate_series(1, 5) n"
)
_NAIVE = "update notes set length = length(body)"
_SCOPE = ("tenant_id", "user_id")
_DONE = "select count(*) from notes where length = length(body)"
_POLICIES = "select polname::text, polcmd::text from pg_policy order by 1"


@pytest.fixture
def filled(probe: Probe) -> Probe:
    """60 notes of 12 users in 3 tenants."""
    probe.server.admin.execute(_FILL, database=probe.name)
    return probe


def _owner(probe: Probe) -> AsyncEngine:
    return create_async_engine(probe.url(OWNER))


async def test_naive_update_changes_nothing_and_backfill_all(filled: Probe) -> None:
    """Under a FORCEd owner a plain UPDATE changes 0 rows silently; the back-fill changes all."""
    engine = _owner(filled)
    async with engine.begin() as connection:
        naive = (await connection.exec_driver_sql(_NAIVE)).rowcount
    before = filled.rows(_DONE)
    async with engine.begin() as connection:
        changed = await connection.run_sync(
            backfill_on, "notes", scope_columns=_SCOPE, statement=_NAIVE
        )
    await engine.dispose()

    assert (0, [(0,)]) == (naive, before)
    assert (60, [(60,)]) == (changed, filled.rows(_DONE))


async def test_backfill_works_in_one_scope_at_a_time(filled: Probe) -> None:
    """The statement runs once in each scope, and sees that scope's rows only."""
    engine = _owner(filled)
    statement = "update notes set length = (select count(*) from notes)"
    async with engine.begin() as connection:
        changed = await connection.run_sync(
            backfill_on, "notes", scope_columns=_SCOPE, statement=statement
        )
    await engine.dispose()

    assert 60 == changed
    assert [(5,)] == filled.rows("select distinct length from notes")


async def test_backfill_cannot_move_rows(filled: Probe) -> None:
    """A statement that would change a row's owner fails, and nothing has changed."""
    engine = _owner(filled)
    statement = "update notes set user_id = 'user-1-1', note_id = user_id || note_id"

    async def backfill() -> None:
        async with engine.begin() as connection:
            await connection.run_sync(
                backfill_on, "notes", scope_columns=_SCOPE, statement=statement
            )

    with pytest.raises(Exception, match="row-level security"):
        await backfill()
    await engine.dispose()

    assert [(12,)] == filled.rows("select count(distinct user_id) from notes")


async def test_backfill_leaves_no_policy_and_no_scope(filled: Probe) -> None:
    """Afterwards the policies are as they were, and the owner sees nothing again."""
    before = filled.rows(_POLICIES)
    engine = _owner(filled)

    def work(connection: Connection) -> int:
        backfill_on(connection, "notes", scope_columns=_SCOPE, statement=_NAIVE)
        return connection.execute(text(_NAIVE)).rowcount

    async with engine.begin() as connection:
        seen = await connection.run_sync(work)
    await engine.dispose()

    assert 0 == seen
    assert before == filled.rows(_POLICIES)


def test_further_roles_are_called_as_the_service_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a shared server's roles begin with is the service's own role's, not spelt out."""
    monkeypatch.setenv("SERVICE_ROLE", "wt_0a1b2c3d_probe_service")
    found = further_role("relay")
    monkeypatch.setenv("SERVICE_ROLE", "probe")
    with pytest.raises(ValueError, match="ends in _service"):
        further_role("relay")

    assert "wt_0a1b2c3d_probe_relay" == found


async def test_migrating_twice_changes_nothing(
    probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the newest revision there is nothing to do, also for two at once."""
    monkeypatch.setenv("SERVICE_ROLE", SERVICE)
    before = probe.rows(_POLICIES)
    url = probe.url(OWNER)
    await asyncio.gather(*(asyncio.to_thread(run_migrations, MIGRATIONS, url) for _ in range(2)))

    assert before == probe.rows(_POLICIES)
    assert [("0001",)] == probe.rows("select version_num from alembic_version")
