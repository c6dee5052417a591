"""Usage that was acknowledged counts once, whatever becomes of the stream that carries it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from contracts.context import ThreadId
from integration.clients.analytics import AnalyticsClient
from integration.clients.auth import AuthClient
from integration.clients.backend import BackendClient
from integration.clients.results import Session
from integration.clients.websocket import WebSocketTestClient
from integration.environment import Environment
from tools.processes import SupervisedProcess

MESSAGES = 10
ARRIVAL_SECONDS = 30.0
# Longer than a delivery takes, so that one that comes twice would be seen.
AFTERWARDS_SECONDS = 1.0


async def test_usage_survives_a_redis_that_comes_back_empty() -> None:
    """Redis dies between taking the usage and giving it out; each run counts, and counts once."""
    async with Environment(replicas=2) as environment:
        session = await _log_in(environment)
        async with BackendClient(environment.backend_url, token=session.access_token) as backend:
            thread_id = (await backend.create_thread("kept")).thread_id
        await environment.control("analytics", SupervisedProcess.pause)
        await _send(environment, session, thread_id)
        await _until(lambda: _held(environment) >= MESSAGES, 10.0)
        await environment.control("valkey", SupervisedProcess.kill)
        await environment.control("valkey", SupervisedProcess.start)
        await environment.control("analytics", SupervisedProcess.resume)
        async with AnalyticsClient(
            environment.analytics_url, token=session.access_token
        ) as analytics:
            counted = 0
            async with asyncio.timeout(ARRIVAL_SECONDS):
                while counted < MESSAGES:
                    counted = (await analytics.thread_usage(thread_id)).runs
                    await asyncio.sleep(0.1)
            await _until(lambda: _waiting(environment) == 0, ARRIVAL_SECONDS)
            await asyncio.sleep(AFTERWARDS_SECONDS)
            usage = await analytics.thread_usage(thread_id)

    assert MESSAGES == usage.runs


async def _log_in(environment: Environment) -> Session:
    tenant, password = f"tenant-{secrets.token_hex(4)}", secrets.token_urlsafe(12)
    async with AuthClient(environment.auth_url) as auth:
        await auth.create_tenant(
            environment.credentials.operator_secret, tenant, login_name="root", password=password
        )
        return await auth.log_in(tenant, "root", password)


async def _send(environment: Environment, session: Session, thread_id: ThreadId) -> None:
    """By WebSocket, whose usage goes by the stream alone; nobody waits for analytics."""
    async with WebSocketTestClient(
        token=session.access_token, base_url=environment.backend_url
    ) as client:
        for number in range(MESSAGES):
            await client.request_agent(thread_id, f"message {number}")


def _held(environment: Environment) -> int:
    length = environment.valkey.admin.xlen("wt:stream:usage")
    assert isinstance(length, int)
    return length


def _waiting(environment: Environment) -> int:
    return len(environment.postgres.admin.fetch("select from outbox", database="backend"))


async def _until(condition: Callable[[], bool], limit_seconds: float) -> None:
    async with asyncio.timeout(limit_seconds):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.05)
