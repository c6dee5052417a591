from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest

from services.runtime.errors import Unavailable
from services.runtime.redis import ScopedRedis
from services.runtime.tests.probe import thread_scope, user_scope
from services.runtime.wake_ups import WakeUps
from tools.datastores import ValkeyServer
from tools.processes.waiting import until


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[ScopedRedis]:
    """Who publishes."""
    redis = ScopedRedis(redis_url, "probe")
    yield redis
    await redis.close()


@pytest.fixture
async def wake_ups(redis: ScopedRedis) -> AsyncIterator[WakeUps]:
    """Who listens."""
    wake_ups = WakeUps(redis, "thread")
    await wake_ups.start()
    yield wake_ups
    await wake_ups.stop()


def _listeners(valkey: ValkeyServer, redis: ScopedRedis) -> int:
    [(_, count)] = valkey.admin.pubsub_numsub(redis.name("thread", thread_scope()))
    return int(count)


async def test_entered_means_subscribed(
    redis: ScopedRedis, wake_ups: WakeUps, valkey: ValkeyServer
) -> None:
    """What is published after a subscription was entered arrives, at each who subscribed."""
    first: list[bytes] = []
    second: list[bytes] = []
    async with (
        wake_ups.subscribed(thread_scope(), first.append),
        wake_ups.subscribed(thread_scope(), second.append),
    ):
        assert 1 == _listeners(valkey, redis)
        await redis.publish("thread", thread_scope(), b"7")
        await until(lambda: first[-1:] == [b"7"] and second[-1:] == [b"7"])


async def test_nobody_else_is_woken(redis: ScopedRedis, wake_ups: WakeUps) -> None:
    """A scope's wake-ups reach neither another thread, nor its user, nor another namespace."""
    mine: list[bytes] = []
    others: list[bytes] = []
    async with (
        wake_ups.subscribed(thread_scope(1), mine.append),
        wake_ups.subscribed(thread_scope(2), others.append),
        wake_ups.subscribed(user_scope(), others.append),
    ):
        others.clear()
        await redis.publish("other", thread_scope(2), b"no")
        await redis.publish("thread", thread_scope(1), b"7")
        await until(lambda: mine[-1:] == [b"7"])

    assert [] == others


async def test_last_one_to_leave_unsubscribes(
    redis: ScopedRedis, wake_ups: WakeUps, valkey: ValkeyServer
) -> None:
    """A scope that nobody listens to any more costs the server nothing; it may come back."""
    heard: list[bytes] = []
    for _ in range(3):
        async with wake_ups.subscribed(thread_scope(), heard.append):
            async with wake_ups.subscribed(thread_scope(), heard.append):
                pass
            assert 1 == _listeners(valkey, redis)
    await until(lambda: _listeners(valkey, redis) == 0)
    async with wake_ups.subscribed(thread_scope(), heard.append):
        await redis.publish("thread", thread_scope(), b"7")
        await until(lambda: heard[-1:] == [b"7"])


async def test_coming_and_going_at_once(
    redis: ScopedRedis, wake_ups: WakeUps, valkey: ValkeyServer
) -> None:
    """Whoever has entered is subscribed, however others come, go and are cancelled meanwhile."""

    async def come_and_go(number: int) -> None:
        heard: list[bytes] = []
        for turn in range(10):
            payload = f"{number}-{turn}".encode()
            async with wake_ups.subscribed(thread_scope(), heard.append):
                await redis.publish("thread", thread_scope(), payload)
                await until(partial(heard.__contains__, payload))

    async def be_cancelled() -> None:
        for _ in range(20):
            task = asyncio.create_task(come_and_go(-1))
            await asyncio.sleep(0.001)
            task.cancel()
            await asyncio.wait([task])

    await asyncio.gather(be_cancelled(), *(come_and_go(number) for number in range(4)))
    await until(lambda: _listeners(valkey, redis) == 0)


async def test_lost_connection_and_reconnection_wake_everybody(
    redis: ScopedRedis, wake_ups: WakeUps, valkey: ValkeyServer
) -> None:
    """Each is woken when the connection is lost and when it is back, and hears what follows."""
    heard: list[bytes] = []
    async with wake_ups.subscribed(thread_scope(), heard.append):
        heard.clear()
        assert wake_ups.connected
        await asyncio.to_thread(valkey.process.kill)
        await until(lambda: heard == [b""])
        assert not wake_ups.connected
        await asyncio.to_thread(valkey.process.start)
        await until(lambda: heard == [b"", b""])
        assert wake_ups.connected
        assert 1 == _listeners(valkey, redis)
        await redis.publish("thread", thread_scope(), b"7")
        await until(lambda: heard == [b"", b"", b"7"])


async def test_without_a_server_subscribing_is_unavailable() -> None:
    """Nobody waits for ever for an acknowledgement, and stopping works all the same."""
    redis = ScopedRedis("redis://user:password@127.0.0.1:1/0", "probe")
    wake_ups = WakeUps(redis, "thread")
    await wake_ups.start()
    with pytest.raises(Unavailable):
        async with wake_ups.subscribed(thread_scope(), lambda _payload: None):
            pass
    await wake_ups.stop()
    await redis.close()
