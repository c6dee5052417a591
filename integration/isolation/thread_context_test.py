"""Threads of one user, on the whole running system: rows, events, cost at once, and its start.

These four are what the isolation of conversations stands on. Each has a defect that turns it red
(`tests/thread_context_red_test.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.context import ThreadId, UserExecutionContext
from contracts.context.carriers.websocket import EVENT_TYPES
from integration.clients.backend import BackendClient
from integration.clients.websocket import Frame
from integration.environment import SERVICES, Environment
from integration.fixtures import (
    Principals,
    RealServices,
    UserContexts,
    WebSocketTestClient,
    is_isolated,
    record_metric,
)
from integration.performance.scaling import measure_scaling, speakers
from services.runtime.postgres_errors import DatabaseError

pytest_plugins = ["integration.fixtures.plugin"]
pytestmark = [pytest.mark.integration, pytest.mark.real_services, pytest.mark.critical]

LIMIT_SECONDS = 10.0
CONTEXTS = 10
MAXIMUM_FACTOR = 1.5

# No statement filters: what each thread sees is what the database shows it.
INSERT = text(
    "INSERT INTO messages (tenant_id, user_id, thread_id, sequence, message_id, run_id, role,"
    " content, created_at)"
    " VALUES (:tenant_id, :user_id, :thread_id, 1, :message_id, :run_id, 'user', :content, :now)"
)
SELECT = text("SELECT thread_id, content FROM messages")


async def test_rows_of_one_thread_are_nothing_to_another(
    real_services_fixture: RealServices,
    principals: Principals,
    get_user_execution_context: UserContexts,
) -> None:
    """One user, two threads: committed rows are seen in their own thread, and nowhere else."""
    ann = await principals.user()
    notes, plans = [await principals.thread(ann) for _ in range(2)]
    first = get_user_execution_context(user_id=ann.user_id, thread_id=notes)
    second = get_user_execution_context(user_id=ann.user_id, thread_id=plans)
    db = real_services_fixture.db

    first = first.with_db_session(db)
    await write(first, "only in notes")
    await db.commit()
    second = second.with_db_session(db)

    assert [] == await seen(second.db)

    await write(second, "only in plans")
    await db.commit()

    assert [(plans, "only in plans")] == await seen(second.db)

    await db.commit()
    first = first.with_db_session(db)

    assert [(notes, "only in notes")] == await seen(first.db)

    with pytest.raises(DatabaseError):
        await write(first, "in plans, from notes", thread_id=plans)
    await db.rollback()
    # And so the backend, for whom both threads are one user's, on every replica.
    for url in real_services_fixture.environment.backend_urls:
        async with BackendClient(url, token=ann.token) as backend:
            for thread_id, content in ((notes, "only in notes"), (plans, "only in plans")):
                messages = (await backend.messages(thread_id)).messages

                assert [(thread_id, content)] == [
                    (message.thread_id, message.content) for message in messages
                ]


async def test_events_go_to_the_thread_that_they_are_of(
    real_services_fixture: RealServices, principals: Principals
) -> None:
    """One user, two threads, a socket in each: every event of one's own thread, and no other."""
    ann = await principals.user()
    threads = [await principals.thread(ann) for _ in range(2)]
    url = real_services_fixture.backend_url
    async with (
        WebSocketTestClient(token=ann.token, base_url=url, client_id="notes") as notes,
        WebSocketTestClient(token=ann.token, base_url=url, client_id="plans") as plans,
    ):
        clients = dict(zip(threads, (notes, plans), strict=True))
        for thread_id, client in clients.items():
            await client.subscribe(thread_id)
        # In turns: what one thread's events would do to the other's socket comes before its last.
        for number in range(3):
            for thread_id, client in clients.items():
                await client.request_agent(thread_id, f"{number} in {thread_id}")
        received = {
            thread_id: await client.collect_events(LIMIT_SECONDS, until=says(f"2 in {thread_id}"))
            for thread_id, client in clients.items()
        }

    for thread_id in threads:
        messages = [f"{number} in {thread_id}" for number in range(3)]

        assert expected_events(thread_id, messages) == [
            (event["thread_id"], event["sequence"], event["type"], event["content"])
            for event in received[thread_id]
        ]


@pytest.mark.performance
async def test_ten_contexts_at_once_cost_no_more_than_in_turn(
    environment: Environment, principals: Principals
) -> None:
    """T(10) / (10 · T(1)) from message to `agent_completed` is under 1.5: nobody is in the way."""
    async with speakers(environment, principals, CONTEXTS) as speaking:
        scaling = await measure_scaling(speaking, rounds=7)
    record_metric("one context", scaling.one_seconds, "s")
    record_metric("ten contexts at once", scaling.all_seconds, "s")
    record_metric("T(10) / (10 * T(1))", scaling.factor)

    assert scaling.factor < MAXIMUM_FACTOR, scaling


async def test_the_system_that_started_is_the_real_one(
    real_services_fixture: RealServices, environment: Environment
) -> None:
    """Real servers of the expected versions, healthy, migrated, unprivileged, and on loopback."""
    admin = real_services_fixture.admin
    (server,) = admin.postgres.fetch("SELECT current_setting('server_version_num')::int AS number")
    valkey = admin.redis.info("server")

    # Embedded servers are the lock's; others' are at least what is supported.
    if environment.external:
        assert int(str(server["number"])) >= 150_000
        assert tuple(map(int, valkey["redis_version"].split(".")))[:2] >= (7, 0)
    else:
        assert 18 == int(str(server["number"])) // 10_000
        assert valkey["valkey_version"].startswith("9.1.")
    for service in SERVICES:
        (revision,) = admin.postgres.fetch(
            "SELECT version_num FROM alembic_version", database=service
        )
        assert newest_revision(service) == revision["version_num"]
    assert {} == await unhealthy(environment)
    assert {"127.0.0.1"} == {urlsplit(url).hostname for url in addresses(environment).values()}
    assert [] == privileged_roles(real_services_fixture)
    assert is_isolated(environment) is not environment.external


async def write(
    context: UserExecutionContext, content: str, thread_id: ThreadId | None = None
) -> None:
    """Writes a message under a context, as of its own thread unless told otherwise."""
    values = {
        "tenant_id": context.tenant_id,
        "user_id": context.user_id,
        "thread_id": thread_id or context.thread_id,
        "message_id": context.request_id,
        "run_id": context.run_id,
        "content": content,
        "now": datetime.now(UTC),
    }
    await context.db.execute(INSERT, values)


async def seen(db: AsyncSession) -> list[tuple[str, str]]:
    """Every message that the database shows."""
    return [(row.thread_id, row.content) for row in await db.execute(SELECT)]


def says(message: str) -> Callable[[list[Frame]], bool]:
    """Whether the last of some events completes a message."""
    return lambda events: bool(events) and events[-1]["content"] == f"You said: {message}"


def expected_events(
    thread_id: ThreadId, messages: Sequence[str]
) -> list[tuple[ThreadId, int, str, str]]:
    """All that a thread's socket is sent for these messages, in order."""
    contents = [
        content
        for message in messages
        for content in (
            "",
            f"thinking about {message}",
            "echo",
            f"echo: {message}",
            f"You said: {message}",
        )
    ]
    return [
        (thread_id, sequence, EVENT_TYPES[(sequence - 1) % len(EVENT_TYPES)], content)
        for sequence, content in enumerate(contents, 1)
    ]


def addresses(environment: Environment) -> dict[str, str]:
    """Where every process of a service answers."""
    replicas = dict(zip(environment.replica_names, environment.backend_urls, strict=True))
    return {"auth": environment.auth_url, "analytics": environment.analytics_url, **replicas}


async def unhealthy(environment: Environment) -> dict[str, object]:
    """What the processes that are not quite ready, or not who they should be, say of themselves."""
    found = {}
    async with httpx.AsyncClient(trust_env=False, timeout=LIMIT_SECONDS) as http:
        for name, url in addresses(environment).items():
            health = (await http.get(f"{url}/health")).json()
            ready = health["ready"] is True and all(health["checks"].values())
            if not ready or health["service"] != name.partition("-")[0]:
                found[name] = health
    return found


def newest_revision(service: str) -> str:
    """The migration that no other one follows, of those that the service has."""
    folder = Path(__file__).parents[2] / "services" / service / "migrations"
    texts = [path.read_text() for path in sorted(folder.glob("revision_*.py"))]
    revisions, followed = (
        {found[1] for text in texts if (found := re.search(pattern, text, re.MULTILINE))}
        for pattern in (r'^revision = "(\w+)"', r'^down_revision = "(\w+)"')
    )
    (newest,) = revisions - followed
    return newest


def privileged_roles(services: RealServices) -> list[str]:
    """The services' roles that may do what no service needs, or are not there at all."""
    environment = services.environment
    found = services.admin.postgres.fetch(
        "SELECT rolname, rolbypassrls OR rolsuper OR rolcreaterole OR rolcreatedb"
        " OR rolreplication AS privileged FROM pg_roles WHERE rolcanlogin"
    )
    privileged = {role["rolname"]: role["privileged"] for role in found}
    roles = [
        environment.names.role(f"{service}_{role}")
        for service in SERVICES
        for role in environment.programs.services[service].database_roles
    ]
    return [role for role in roles if privileged.get(role, True)]
