from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio.connection import Connection
from redis.exceptions import NoPermissionError

from contracts.context import ContextMissing, DataScope, TenantId, UserId
from services.runtime.errors import Unavailable
from services.runtime.redis import ScopedRedis
from services.runtime.tests.probe import thread_scope, user_scope
from tools.datastores import ValkeyServer


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[ScopedRedis]:
    """The service's own keys, over one connection: whatever it keeps is met again."""
    redis = ScopedRedis(redis_url, "probe", pool_size=1)
    yield redis
    await redis.close()


async def test_value_belongs_to_its_scope(redis: ScopedRedis) -> None:
    """A value is found under its own scope, namespace and names, and under no others."""
    await redis.set("note", thread_scope(), "name", value=b"mine", lifetime_seconds=60)

    assert b"mine" == await redis.get("note", thread_scope(), "name")
    assert await redis.get("note", thread_scope()) is None
    assert await redis.get("note", thread_scope(2), "name") is None
    assert await redis.get("note", user_scope(), "name") is None
    assert await redis.get("other", thread_scope(), "name") is None


async def test_hostile_identifiers_meet_nothing(redis: ScopedRedis) -> None:
    """Delimiters, globs and neighbours' names in an identifier are no way into another's key."""
    tenants = ["a", "a,", "a:b", "*", "?", "a*", "[a]", "A", "1:a"]
    for tenant in tenants:
        for user in tenants:
            scope = DataScope.user(TenantId(tenant), UserId(user))
            await redis.set("n", scope, value=f"{tenant} {user}".encode(), lifetime_seconds=60)

    for tenant in tenants:
        for user in tenants:
            scope = DataScope.user(TenantId(tenant), UserId(user))
            assert f"{tenant} {user}".encode() == await redis.get("n", scope)


async def test_key_needs_a_scope(redis: ScopedRedis) -> None:
    """There is no key for everybody."""
    with pytest.raises(ContextMissing):
        await redis.get("note", "thread-1")  # type: ignore[arg-type]


async def test_every_key_expires(redis: ScopedRedis, valkey: ValkeyServer) -> None:
    """Nothing is stored for ever, and every key is the service's own."""
    await redis.set("a", thread_scope(), value=b"x", lifetime_seconds=60)
    await redis.set_version("b", thread_scope(), version=1, value=b"x", lifetime_seconds=60)
    lifetimes = {key: valkey.admin.ttl(key) for key in valkey.admin.scan_iter()}

    assert 2 == len(lifetimes)
    assert all(0 < lifetime <= 60 for lifetime in lifetimes.values())
    assert all(key.startswith(b"wt:probe:") for key in lifetimes)


async def test_systems_on_one_server_meet_nowhere(redis_url: str, valkey: ValkeyServer) -> None:
    """Another system's keys and channels have other names, which the first one's user may not."""
    other = ScopedRedis(redis_url, "probe", system="wt-0a1b2c3d")
    with pytest.raises(NoPermissionError):
        await other.set("a", thread_scope(), value=b"x", lifetime_seconds=60)
    _, _, silent = other.open_subscriptions()
    await other.close()

    assert "wt-0a1b2c3d:probe:silence" == silent
    assert other.name("a", thread_scope()).startswith("wt-0a1b2c3d:probe:")
    assert [] == list(valkey.admin.scan_iter(match="wt-0a1b2c3d:*"))


async def test_taken_once(redis_url: str) -> None:
    """Of many that take a value at once one gets it."""
    redis = ScopedRedis(redis_url, "probe", pool_size=5)
    scope = DataScope.login("ticket")
    await redis.set("ticket", scope, value=b"x", lifetime_seconds=60)
    taken = await asyncio.gather(*(redis.take("ticket", scope) for _ in range(20)))
    await redis.close()

    assert [b"x"] == [value for value in taken if value is not None]


async def test_deleted_value_is_gone(redis: ScopedRedis) -> None:
    """A deleted value is not found, and deleting it again is no error."""
    await redis.set("note", thread_scope(), value=b"x", lifetime_seconds=60)
    await redis.delete("note", thread_scope())
    await redis.delete("note", thread_scope())

    assert await redis.get("note", thread_scope()) is None


async def test_older_version_replaces_no_newer_one(redis: ScopedRedis) -> None:
    """A version is stored over an older or equal one, and not over a newer one."""
    scope = thread_scope()

    async def store(version: int, value: bytes) -> bool:
        return await redis.set_version(
            "v", scope, version=version, value=value, lifetime_seconds=60
        )

    stored = [await store(2, b"two"), await store(1, b"one"), await store(2, b"again")]

    assert [True, False, True] == stored
    assert (2, b"again") == await redis.get_version("v", scope)
    assert await store(10, b"a:b")
    assert (10, b"a:b") == await redis.get_version("v", scope)


async def test_version_that_arrives_late_is_gone(redis: ScopedRedis) -> None:
    """The expiry is a point in time: what is executed after it stores nothing."""
    await redis.set_version("v", thread_scope(), version=1, value=b"x", lifetime_seconds=-1)

    assert await redis.get_version("v", thread_scope()) is None


async def _cancel_a_get(redis: ScopedRedis, valkey: ValkeyServer) -> bytes | None:
    """Cancels one caller whose command is sent and not answered; gives what the next one reads."""
    for number in (1, 2):
        value = f"of thread {number}".encode()
        await redis.set("n", thread_scope(number), value=value, lifetime_seconds=60)
    valkey.process.pause()
    try:
        first = asyncio.create_task(redis.get("n", thread_scope(1)))
        await asyncio.sleep(0.05)  # sent: the connection was open
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        second = asyncio.create_task(redis.get("n", thread_scope(2)))
        await asyncio.sleep(0.05)
    finally:
        valkey.process.resume()
    return await second


async def test_cancelled_command_keeps_its_reply(redis: ScopedRedis, valkey: ValkeyServer) -> None:
    """The reply to a cancelled command does not reach the next caller of its connection."""
    assert b"of thread 2" == await _cancel_a_get(redis, valkey)


async def test_reply_left_behind_is_noticed(
    redis: ScopedRedis, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same check finds a client that keeps the connection of a cancelled command."""

    async def keep(*_arguments: object, **_options: object) -> None:
        """What redis-py did before CVE-2023-28858."""

    await redis.ping()
    monkeypatch.setattr(Connection, "disconnect", keep)
    found = await _cancel_a_get(redis, valkey)
    monkeypatch.undo()

    assert b"of thread 1" == found


async def test_server_that_hangs_is_unavailable(redis: ScopedRedis, valkey: ValkeyServer) -> None:
    """A server that answers nothing is given up in bounded time, and its late reply with it."""
    await redis.set("n", thread_scope(1), value=b"1", lifetime_seconds=60)
    await redis.set("n", thread_scope(2), value=b"2", lifetime_seconds=60)
    valkey.process.pause()
    try:
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await redis.get("n", thread_scope(1))
        elapsed = time.monotonic() - started
    finally:
        valkey.process.resume()

    assert elapsed < 3
    assert b"2" == await redis.get("n", thread_scope(2))


async def test_server_that_restarted_costs_nothing(
    redis: ScopedRedis, valkey: ValkeyServer
) -> None:
    """A pooled connection that is closed is replaced, and the command repeated."""
    assert await redis.ping()

    await asyncio.to_thread(valkey.restart)

    assert await redis.get("n", thread_scope()) is None


async def test_server_that_is_gone_is_unavailable() -> None:
    """No server: a typed refusal, and `ping` says no."""
    redis = ScopedRedis("redis://user:password@127.0.0.1:1/0", "probe")
    with pytest.raises(Unavailable):
        await redis.get("n", thread_scope())

    assert not await redis.ping()
    await redis.close()
