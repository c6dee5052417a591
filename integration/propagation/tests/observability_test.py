"""Whether a request is found again: in logs, spans, figures and trails, and nowhere else."""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from contextlib import ExitStack
from datetime import datetime
from typing import Final, Protocol

import pytest

from integration.clients.answers import Refused
from integration.clients.backend import BackendClient
from integration.environment import Environment
from integration.fixtures.principals import Principals
from integration.propagation.content import Secrets, speak, told
from integration.propagation.evidence import Mark, log_lines, marks, marks_of, metrics, pages, seen
from integration.propagation.figures import FIGURES, moved, moved_by, settled
from integration.propagation.journeys import Entry, Trace, send
from integration.propagation.judging import arrival
from integration.propagation.refusals import KINDS, refusals
from integration.propagation.steps import STEPS
from integration.propagation.wiretap import Wiretap
from tools.processes.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.real_services]

SERVICES: Final = {"auth", "analytics", "backend"}
OWNED: Final = ("trace_id", "request_id", "run_id", "thread_id", "user_id")
"""What belongs to one user alone, wherever it stands."""

ALWAYS: Final = {"event", "level", "timestamp", "service"}
CONTEXT: Final = {
    "tenant_id",
    "user_id",
    "thread_id",
    "run_id",
    "request_id",
    "parent_request_id",
    "operation_depth",
    "websocket_client_id",
    "trace_id",
}
DECLARED: Final = {
    *ALWAYS,
    *CONTEXT,
    "audience",
    "channel",
    "code",
    "connection_id",
    "created_user_id",
    "duration_ms",
    "entry",
    "error_places",
    "error_types",
    "grpc_port",
    "http_port",
    "logger",
    "operation",
    "reason",
    "revoked_user_id",
    "rows",
    "sequence",
    "session_id",
    "sessions",
    "status",
    "stored",
    "workload",
}
"""Every field that a log line may have."""

LABELS: Final = {
    "channel",
    "code",
    "generation",
    "implementation",
    "le",
    "major",
    "minor",
    "operation",
    "outcome",
    "patchlevel",
    "stored",
    "version",
    "way",
}
"""Every label that a figure may have, Python's own among them."""

IDENTIFIER: Final = re.compile(r"[0-9a-f]{16,}")


class Wires(Protocol):
    """See the conftest."""

    environment: Environment
    analytics: Wiretap


def text_of(mark: Mark) -> str:
    """Everything that a mark says."""
    return f"{mark.what} {json.dumps(dict(mark.fields), default=str)}"


@pytest.mark.parametrize("entry", Entry)
async def test_a_request_is_found_by_what_its_caller_is_told(
    environment: Environment, principals: Principals, entry: Entry
) -> None:
    """By its identifier alone, in log, span and trail of each service; nothing else names it."""
    people = [await principals.user() for _ in range(3)]
    threads = [await principals.thread(person) for person in people]
    journey, *others = await asyncio.gather(
        *(send(environment, p, t, entry) for p, t in zip(people, threads, strict=True))
    )
    for each in (journey, *others):
        await arrival(environment, each, STEPS[entry])
    everything = await marks(environment)
    found = [m for m in everything if journey.request_id in text_of(m)]
    services = SERVICES if entry is not Entry.WEBSOCKET else {"analytics", "backend"}
    foreign = {
        value
        for other in others
        for value in (*other.scope.values(), other.request_id, other.trace.trace_id)
    }

    assert {(s, kind) for s in services for kind in ("log", "span", "trail")} == {
        (mark.service, mark.kind) for mark in found
    }
    assert {journey.trace.trace_id} == {mark.fields["trace_id"] for mark in found}
    assert {(journey.person.user_id, journey.person.tenant_id)} == {
        (mark.fields["user_id"], mark.fields["tenant_id"]) for mark in found
    }
    assert {journey.trace.trace_id} == {
        mark.fields["trace_id"] for mark in everything if journey.trace.trace_id in text_of(mark)
    }
    assert [] == [text_of(mark) for mark in found if any(word in text_of(mark) for word in foreign)]


async def test_whatever_names_one_user_names_no_other(
    environment: Environment, principals: Principals
) -> None:
    """Of all that was ever left, no trace, request, run or thread is told of two users."""
    people = [await principals.user(f"shared-{number % 2}") for number in range(4)]
    threads = [await principals.thread(person) for person in people]
    journeys = await asyncio.gather(
        *(
            send(environment, people[n % 4], threads[n % 4], list(Entry)[n % 3], replica=n % 2)
            for n in range(24)
        )
    )
    for journey in journeys:
        await arrival(environment, journey, STEPS[journey.entry])
    owners: dict[tuple[str, str], set[tuple[object, object]]] = defaultdict(set)
    for mark in await marks(environment):
        if mark.fields.get("user_id") is not None:
            for name, value in mark.said(OWNED).items():
                owners[name, str(value)].add((mark.fields["tenant_id"], mark.fields["user_id"]))

    assert {} == {owned: users for owned, users in owners.items() if len(users) > 1}
    assert {journey.request_id for journey in journeys} <= {value for _, value in owners}


@pytest.mark.parametrize("entry", Entry)
async def test_figures_count_a_request_once(
    environment: Environment, principals: Principals, entry: Entry
) -> None:
    """Each service's counters and histograms of just its operations move, by exactly one."""
    person = await principals.user()
    thread_id = await principals.thread(person)
    # Entries are consumed in their order: once this one is, none from before is left.
    await arrival(environment, await send(environment, person, thread_id, entry), STEPS[entry])
    wanted = FIGURES[entry]
    before = await settled(environment)
    await arrival(environment, await send(environment, person, thread_id, entry), STEPS[entry])
    await until(lambda: sum(moved(environment, before).values()) >= sum(wanted.values()))

    assert wanted == moved(environment, before)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_refusal_is_found_again(wires: Wires, principals: Principals, kind: str) -> None:
    """Log, span, figures and, if rows refused it, trail tell it by trace, request and code."""
    environment = wires.environment
    person, other = await principals.user(), await principals.user()
    mine, theirs = await principals.thread(person), await principals.thread(other)
    refusal = refusals(environment, person, mine, theirs)[kind]
    trace = Trace.new()
    before = await settled(environment)
    with ExitStack() as stack:
        if refusal.besides:
            stack.enter_context(wires.analytics.away())
        with pytest.raises(Refused) as raised:
            await refusal.ask(trace)
    (request_id,) = refusal.told(raised.value.answer)
    service = refusal.process.partition("-")[0]
    own = {
        (service, "log", "refused"),
        (service, "log", "answered"),
        (service, "span", refusal.span),
        *([] if refusal.trail is None else [(service, "trail", refusal.trail)]),
    }
    wanted = sum(kind != "trail" for _, kind, _ in own | refusal.besides)
    await until(lambda: seen(environment, trace.trace_id) >= wanted)
    found = {mark.step: mark for mark in await marks_of(environment, trace.trace_id)}
    refused = found[service, "log", "refused"].fields
    span = found[service, "span", refusal.span].fields
    answered = found[service, "log", "answered"].fields

    assert own | refusal.besides == set(found)
    assert refusal.code == raised.value.code
    assert (refusal.code, request_id) == (refused["code"], refused["request_id"])
    assert (refusal.status, request_id) == (str(answered["status"]), answered["request_id"])
    assert refusal.code == span["code"]
    owner = {"tenant_id": person.tenant_id, "user_id": person.user_id} if refusal.known else {}
    for mark in (refused, span, answered):
        assert owner == {name: mark[name] for name in ("tenant_id", "user_id") if name in mark}
    if refusal.trail is not None:
        row = found[service, "trail", refusal.trail].fields
        assert {"outcome": "refused", "request_id": request_id, **owner} == {
            name: row[name] for name in ("outcome", "request_id", "tenant_id", "user_id")
        }
    assert [] == [mark for mark in found.values() if theirs in text_of(mark)]
    counted = moved(environment, before)
    answers = moved_by(
        refusal.process, refusal.channel, refusal.operation, refusal.status, refused=refusal.code
    )
    assert answers == {figure: counted.get(figure) for figure in answers}


async def test_log_lines_are_json_with_declared_fields(
    environment: Environment, principals: Principals
) -> None:
    """Each line says what, when, how grave and of which service, and nothing undeclared."""
    person = await principals.user()
    thread_id = await principals.thread(person)
    for entry in Entry:
        await arrival(environment, await send(environment, person, thread_id, entry), STEPS[entry])
    lines = [line for line in log_lines(environment) if "ready" not in line.fields]

    assert set() == {name for line in lines for name in line.fields} - DECLARED
    assert set() == {name for line in lines for name in ALWAYS - line.fields.keys()}
    assert {"info", "warning", "error"} >= {line.fields["level"] for line in lines}
    assert all(line.service == line.fields["service"] for line in lines)
    for line in lines:
        assert datetime.fromisoformat(line.fields["timestamp"]).utcoffset() is not None
    assert {"answered", "message acknowledged", "usage consumed"} <= {line.what for line in lines}


async def test_figures_name_nobody(environment: Environment, principals: Principals) -> None:
    """Labels are of a declared few; no identifier stands in one, nor in a name or a help text."""
    person = await principals.user()
    thread_id = await principals.thread(person)
    for entry in Entry:
        await arrival(environment, await send(environment, person, thread_id, entry), STEPS[entry])
    async with BackendClient(environment.backend_url, token=person.token) as backend:
        await backend.thread_usage(thread_id)
    figures = metrics(environment)
    shown = "".join(pages(environment).values())

    assert set() == {name for _, _, labels in figures for name, _ in labels} - LABELS
    assert set() == {v for _, _, labels in figures for _, v in labels if IDENTIFIER.search(v)}
    for word in (person.tenant_id, person.user_id, thread_id, person.tenant, person.login_name):
        assert word not in shown
    assert "POST /threads/{thread_id}/messages" in shown


async def test_nothing_tells_what_was_said(
    environment: Environment, principals: Principals
) -> None:
    """No content, credential or e-mail is in log, span, figure or trail, nor what was refused."""
    said = Secrets()
    thread_id = await speak(environment, principals, said)
    query = "SELECT content FROM messages WHERE thread_id = $1 AND role = 'user'"
    rows = await asyncio.to_thread(
        environment.postgres.admin.fetch, query, str(thread_id), database="backend"
    )
    spoken = [said.words[what] for what in said.words if what.startswith("message")]
    everything = await told(environment)

    # The words did come in: what is looked for could be found.
    assert sorted(spoken) == sorted(str(row["content"]) for row in rows)
    assert [] == [
        (where, what)
        for where, content in everything.items()
        for what, word in said.words.items()
        if word.encode() in content
    ]
    assert len(said.words) > 25
