"""What is kept and shown of people's doings, beside their data: trails, answers, metadata."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import asyncpg
import pytest
import redis.asyncio
from redis.exceptions import NoPermissionError, ResponseError

from contracts.context import DataScope
from integration.clients.backend import BackendClient
from integration.environment import Environment
from integration.fixtures.principals import Principals
from integration.security.metadata import REDIS_METADATA, VIEWS
from integration.security.stories import Story, others_of, play, settle
from tools.processes.waiting import wait_until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.real_services,
    pytest.mark.usefixtures("unharmed"),
]

DATABASES = ("analytics", "auth", "backend")
LOGIN_ROLES = (
    ("analytics", "analytics_service"),
    ("auth", "auth_service"),
    ("auth", "auth_revocations"),
    ("backend", "backend_service"),
    ("backend", "backend_relay"),
)
SERVICE_ROLES = tuple((database, f"{database}_service") for database in DATABASES)
LIMIT_SECONDS = 10.0

Rows = list[dict[str, Any]]


@pytest.fixture(scope="session")
def stories(environment: Environment, principals: Principals) -> Mapping[str, Story]:
    """Two members of a tenant and one of another, who have done everything, all at once."""

    async def told() -> Mapping[str, Story]:
        anna, cara = await principals.user(), await principals.user()
        ben = await principals.user(anna.tenant)
        people = {"anna": Story(anna), "ben": Story(ben), "cara": Story(cara)}
        for story in people.values():
            await settle(environment, story)
        names = [*people]
        await asyncio.gather(
            *(
                play(environment, story, people[names[(place + 1) % len(names)]])
                for place, story in enumerate(people.values())
            )
        )
        return people

    return asyncio.run(told())


@pytest.fixture(scope="session")
def rows(environment: Environment, stories: Mapping[str, Story]) -> Rows:
    """All rows of these tenants in all trails, once what the stream carries has come."""
    found: Rows = []
    expected = sum(len(deed.rows) for story in stories.values() for deed in story.deeds)
    tenants = [story.person.tenant_id for story in stories.values()]
    traces = {deed.trace_id for story in stories.values() for deed in story.deeds}

    def complete() -> bool:
        found[:] = [
            {"database": database, **row}
            for database in DATABASES
            for row in environment.postgres.admin.fetch(
                "SELECT * FROM trail WHERE tenant_id = ANY($1::text[])", tenants, database=database
            )
        ]
        return sum(row["trace_id"] in traces for row in found) >= expected

    with contextlib.suppress(TimeoutError):  # what is missing a test names
        wait_until(complete)
    return found


def test_trail_says_what_everybody_did(stories: Mapping[str, Story], rows: Rows) -> None:
    """Each deed left just its rows, refusals among them, in all three services."""
    by_trace = defaultdict(list)
    for row in rows:
        by_trace[row["trace_id"]].append((row["database"], row["action"], row["outcome"]))
    faults = [
        f"{name}, {deed.what}: {sorted(by_trace[deed.trace_id])} instead of {sorted(deed.rows)}"
        for name, story in stories.items()
        for deed in story.deeds
        if sorted(by_trace[deed.trace_id]) != sorted(deed.rows)
    ]

    assert [] == faults


def test_row_names_its_actor_alone(stories: Mapping[str, Story], rows: Rows) -> None:
    """Tenant, user and thread of every row are those of the deed, and its run is her own."""
    faults = []
    deeds = {deed.trace_id: (story, deed) for story in stories.values() for deed in story.deeds}
    for row in rows:
        if row["trace_id"] not in deeds:
            continue
        story, deed = deeds[row["trace_id"]]
        person = story.person
        # Nobody has logged in yet whose password is wrong: the row is her tenant's.
        user = None if deed.what == "wrong password" else person.user_id
        expected = (person.tenant_id, user, deed.thread_id)
        if (row["tenant_id"], row["user_id"], row["thread_id"]) != expected:
            faults.append(f"{deed.what}: {row}")
        if row["run_id"] not in (None, *story.runs):
            faults.append(f"{deed.what}: another's run: {row}")

    assert [] == faults
    assert len(deeds) < len(rows)


def test_no_row_names_another(stories: Mapping[str, Story], rows: Rows) -> None:
    """In rows that say one person no identifier of another stands, and no content in any."""
    faults = []
    for name, story in stories.items():
        others = others_of(stories, name)
        for row in rows:
            values = {str(value) for value in row.values()}
            if row["user_id"] == story.person.user_id and values & others:
                faults.append(f"{name}: {row}")
            if any(story.marker in value for value in values):
                faults.append(f"content: {row}")

    assert [] == faults


def test_request_is_one_traces(rows: Rows) -> None:
    """No request's identifier stands in the rows of two traces, nor of two users."""
    traces, users = defaultdict(set), defaultdict(set)
    for row in rows:
        traces[row["request_id"]].add(row["trace_id"])
        users[row["trace_id"]].add((row["tenant_id"], row["user_id"]))

    assert [] == [request for request, found in traces.items() if len(found) > 1]
    assert [] == [trace for trace, found in users.items() if len(found) > 1]


def test_answers_hold_nobody_elses(stories: Mapping[str, Story]) -> None:
    """Status, headers, bodies, trailing metadata, envelopes: to each her own and no other's."""
    faults = [
        f"{name} was told {secret:.40} in {answer:.200}"
        for name, story in stories.items()
        for secret in others_of(stories, name)
        for answer in story.told
        if secret in answer
    ]

    assert [] == faults
    assert all(any(story.marker in answer for answer in story.told) for story in stories.values())


def test_request_is_one_answers(stories: Mapping[str, Story], rows: Rows) -> None:
    """The request that an answer names is the caller's own, as the trail knows it."""
    owner = {row["request_id"]: row["user_id"] for row in rows if row["user_id"] is not None}
    faults, named = [], 0
    for name, story in stories.items():
        for answer in story.told:
            for request, user in owner.items():
                if request in answer:
                    named += 1
                    if user != story.person.user_id:
                        faults.append(f"{name}: {request} in {answer:.200}")

    assert [] == faults
    assert named > 3 * len(stories)


async def test_counts_and_titles_are_the_callers_own(
    environment: Environment, stories: Mapping[str, Story]
) -> None:
    """The list of threads and the sums of usage count just what the caller made."""
    found = {}
    for name, story in stories.items():
        async with BackendClient(environment.backend_url, token=story.person.token) as backend:
            titles = {thread.title for thread in (await backend.threads()).threads}
            runs = [(await backend.thread_usage(thread)).runs for thread in story.threads]
        found[name] = (titles, sum(runs))
    expected = {
        name: ({f"{story.marker} 0", f"{story.marker} 1"}, 3) for name, story in stories.items()
    }

    assert expected == found


def insert(tenant_id: str, user_id: str | None) -> tuple[str, ...]:
    """A statement that adds to the trail, and its parameters."""
    sql = (
        "INSERT INTO trail (tenant_id, user_id, request_id, trace_id, action, outcome)"
        " VALUES ($1, $2, 'request-1', $3, 'tests.write', 'ok')"
    )
    return sql, tenant_id, user_id, "0" * 32  # type: ignore[return-value]  # NULL is a user, too


@pytest.mark.parametrize(("database", "role"), SERVICE_ROLES)
async def test_service_adds_to_the_trail_of_its_scope_alone(
    environment: Environment, stories: Mapping[str, Story], database: str, role: str
) -> None:
    """Under her scope it can write of her alone, without one of nobody, and it can read nothing."""
    anna, ben, cara = (stories[name].person for name in ("anna", "ben", "cara"))
    own = insert(anna.tenant_id, anna.user_id)
    refused = {
        "a neighbour": insert(anna.tenant_id, ben.user_id),
        "a stranger": insert(cara.tenant_id, cara.user_id),
        "a mixture": insert(cara.tenant_id, anna.user_id),
        "nobody": insert(anna.tenant_id, None),
        "reading": ("SELECT * FROM trail",),
        "counting": ("SELECT count(*) FROM trail",),
        "reading what it writes": (f"{own[0]} RETURNING trail_id", *own[1:]),
        "changing": ("UPDATE trail SET action = 'a'",),
        "removing": ("DELETE FROM trail",),
        "emptying": ("TRUNCATE trail",),
    }
    connection = await asyncpg.connect(
        environment.postgres.dsn(database, role), timeout=LIMIT_SECONDS
    )
    allowed = []
    try:
        for scope in (DataScope.user(anna.tenant_id, anna.user_id), None):
            attempts = refused if scope else {"without a scope": own, **refused}
            for what, (sql, *parameters) in attempts.items():
                transaction = connection.transaction()
                await transaction.start()
                for name, value in scope.settings().items() if scope else ():
                    await connection.execute("SELECT set_config($1, $2, true)", name, value)
                try:
                    await connection.execute(sql, *parameters)
                    allowed.append(what)
                except asyncpg.InsufficientPrivilegeError:
                    pass
                finally:
                    await transaction.rollback()
        async with connection.transaction():
            for name, value in DataScope.user(anna.tenant_id, anna.user_id).settings().items():
                await connection.execute("SELECT set_config($1, $2, true)", name, value)
            status = await connection.execute(*own)
    finally:
        await connection.close()

    assert [] == allowed
    assert "INSERT 0 1" == status


@pytest.mark.parametrize(("database", "role"), LOGIN_ROLES)
async def test_metadata_of_postgres_tells_nothing(
    environment: Environment, stories: Mapping[str, Story], database: str, role: str
) -> None:
    """While others work, no catalogue or statistics view shows a login role anybody's data."""
    environment.postgres.admin.execute("ANALYZE", database=database)
    secrets = {secret for story in stories.values() for secret in story.secrets}
    working = asyncio.gather(*(_busy(environment, story) for story in stories.values()))
    connection = await asyncpg.connect(
        environment.postgres.dsn(database, role), timeout=LIMIT_SECONDS
    )
    faults = []
    try:
        seen = 0
        while not working.done() or not seen:
            for what, view in VIEWS.items():
                try:
                    sql = f"SELECT row_to_json(seen)::text FROM ({view.sql}) AS seen"  # noqa: S608 -- a constant
                    found = await connection.fetch(sql, timeout=LIMIT_SECONDS)
                except asyncpg.InsufficientPrivilegeError:
                    continue
                except asyncpg.UndefinedTableError:
                    continue  # an extension of another database
                text = "\n".join(row[0] for row in found)
                faults += [f"{what}: {secret:.40}" for secret in secrets if secret in text]
                if view.empty and found:
                    faults.append(f"{what}: {text:.300}")
                seen += what == "activity" and len(found) > 0
    finally:
        await connection.close()
        await working

    assert [] == faults


async def _busy(environment: Environment, story: Story) -> None:
    async with BackendClient(environment.backend_url, token=story.person.token) as backend:
        for _ in range(3):
            await backend.send_message(story.threads[0], story.marker)
            await backend.messages(story.threads[0])


@pytest.mark.parametrize("service", ["analytics", "backend"])
async def test_metadata_of_redis_is_refused(environment: Environment, service: str) -> None:
    """No service's user may ask who is connected, what runs, which keys exist, or watch."""
    client: Any = redis.asyncio.from_url(environment.valkey.url(service))
    answered = []
    try:
        for command in REDIS_METADATA:
            try:
                await client.execute_command(*command.split(" "))
                answered.append(command)
            except NoPermissionError:
                pass
            except ResponseError as error:
                answered.append(f"{command}: {error}")
        ping = await client.ping()
    finally:
        await client.aclose()

    assert [] == answered
    assert ping
