"""Usage that was acknowledged counts once, whatever becomes of the stream that carries it."""

from __future__ import annotations

import secrets

from contracts.context import ThreadId
from integration.clients.analytics import AnalyticsClient
from integration.clients.auth import AuthClient
from integration.clients.backend import BackendClient
from integration.clients.results import Session
from integration.clients.websocket import WebSocketTestClient
from integration.environment import Environment
from integration.fixtures.seeding import seeded_programs
from tools.processes import SupervisedProcess
from tools.processes.waiting import until

MESSAGES = 10
# What nobody has confirmed goes out again after 10 s.
ARRIVAL_SECONDS = 20.0


async def test_usage_survives_a_redis_that_comes_back_empty() -> None:
    """Redis dies between taking the usage and giving it out; each run counts, and counts once."""
    async with Environment(programs=seeded_programs(), embedded=True) as environment:
        session = await _log_in(environment)
        async with BackendClient(environment.backend_url, token=session.access_token) as backend:
            thread_id = (await backend.create_thread("kept")).thread_id
        await environment.control("analytics", SupervisedProcess.pause)
        await _send(environment, session, thread_id)
        await until(lambda: _held(environment) >= MESSAGES)
        await environment.control("valkey", SupervisedProcess.kill)
        await environment.control("valkey", SupervisedProcess.start)
        await environment.control("analytics", SupervisedProcess.resume)
        async with AnalyticsClient(
            environment.analytics_url, token=session.access_token
        ) as analytics:
            await until(lambda: _counted(environment) >= MESSAGES, ARRIVAL_SECONDS)
            # What is sent again has been read as well: one that counts twice would have counted.
            await until(lambda: _waiting(environment) == 0, ARRIVAL_SECONDS)
            await until(lambda: _unread(environment) == 0, ARRIVAL_SECONDS)
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


def _stream(environment: Environment) -> str:
    return f"{environment.names.redis_namespace}:stream:usage"


def _held(environment: Environment) -> int:
    length = environment.valkey.admin.xlen(_stream(environment))
    assert isinstance(length, int)
    return length


def _waiting(environment: Environment) -> int:
    return len(environment.postgres.admin.fetch("select from outbox", database="backend"))


def _counted(environment: Environment) -> int:
    return len(environment.postgres.admin.fetch("select from usage_events", database="analytics"))


def _unread(environment: Environment) -> int:
    groups = environment.valkey.admin.xinfo_groups(_stream(environment))
    assert isinstance(groups, list)
    return sum(int(group["lag"] or 0) + int(group["pending"]) for group in groups)
