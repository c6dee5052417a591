"""Whether the context arrives: at every service that a message passes, over every channel."""

from __future__ import annotations

import asyncio
from typing import Protocol

import pytest

from contracts.context import (
    RunId,
    Scope,
    ThreadId,
    UserExecutionContext,
)
from contracts.context.carriers.entry import read_entry
from contracts.context.carriers.hop import TRANSACTION_TOKEN_KEY
from integration.clients.backend import BackendClient
from integration.clients.websocket import WebSocketTestClient
from integration.environment import Environment
from integration.fixtures.principals import Person, Principals
from integration.propagation.evidence import Mark, entries, marks
from integration.propagation.journeys import REQUEST_ID_KEY, Entry, Journey, Trace, send, told_by
from integration.propagation.judging import arrival, arrived, faults
from integration.propagation.outside import (
    RECORD_USAGE,
    Outsider,
    claims_of,
    forged_context,
)
from integration.propagation.steps import QUESTION, STEPS
from integration.propagation.wiretap import Wiretap
from tools.processes import SupervisedProcess
from tools.processes.waiting import until
from watertight.auth.v1.auth_pb2 import ExchangeTokenRequest

pytestmark = [pytest.mark.integration, pytest.mark.real_services]

BY_HOP = [Entry.HTTP, Entry.GRPC]


class Wires(Protocol):
    """See the conftest."""

    environment: Environment
    auth: Wiretap
    analytics: Wiretap


@pytest.mark.parametrize("entry", Entry)
async def test_every_hop_says_whose_message_it_is(
    environment: Environment, principals: Principals, entry: Entry
) -> None:
    """Logs, spans and trails of all services name tenant, user, thread, run and lineage, once."""
    person = await principals.user()
    thread_id = await principals.thread(person)
    journey = await send(environment, person, thread_id, entry)
    found = await arrived(environment, journey, STEPS[entry])

    assert [] == faults(journey, STEPS[entry], found)


@pytest.mark.parametrize("entry", Entry)
async def test_every_span_continues_its_callers(
    environment: Environment, principals: Principals, entry: Entry
) -> None:
    """The caller's span is the entry's parent, and the entry's span is that of whatever follows."""
    person = await principals.user()
    thread_id = await principals.thread(person)
    journey = await send(environment, person, thread_id, entry)
    found = await arrived(environment, journey, STEPS[entry])
    spans = [mark for mark in found if mark.kind == "span"]
    (first,) = [span for span in spans if span.service == "backend"]

    assert journey.trace.span_id == first.fields["parent_id"]
    assert {first.fields["span_id"]} == {
        span.fields["parent_id"] for span in spans if span is not first
    }


@pytest.mark.parametrize("entry", Entry)
async def test_every_row_and_event_is_stored_under_the_context(
    environment: Environment, principals: Principals, entry: Entry
) -> None:
    """Messages, events, session and usage are of the same tenant, user, thread, run, request."""
    person = await principals.user()
    thread_id = await principals.thread(person)
    journey = await send(environment, person, thread_id, entry)
    await arrived(environment, journey, STEPS[entry])

    def rows(database: str, table: str) -> list[dict[str, object]]:
        query = f"SELECT * FROM {table} WHERE thread_id = $1"  # noqa: S608 -- of this file
        return environment.postgres.admin.fetch(query, str(thread_id), database=database)

    def scopes(found: list[dict[str, object]], *more: str) -> list[dict[str, object]]:
        return [{name: row[name] for name in (*journey.scope, *more)} for row in found]

    events = await asyncio.to_thread(rows, "backend", "events")
    messages = await asyncio.to_thread(rows, "backend", "messages")
    (session,) = await asyncio.to_thread(rows, "backend", "thread_contexts")
    usage = await asyncio.to_thread(rows, "analytics", "usage_events")

    assert [{**journey.scope, "request_id": journey.request_id}] * 5 == scopes(events, "request_id")
    assert [journey.scope] * 2 == scopes(messages)
    assert (journey.run_id, journey.request_id) == (
        session["current_run_id"],
        session["changed_by"],
    )
    assert [journey.scope] == scopes(usage)


@pytest.mark.parametrize("entry", BY_HOP)
async def test_a_hop_carries_less_and_never_more(
    wires: Wires, principals: Principals, entry: Entry
) -> None:
    """On the wire: one deeper, for the run, one scope of all, and no later end than its token's."""
    person = await principals.user()
    thread_id = await principals.thread(person)
    journey = await send(wires.environment, person, thread_id, entry)
    (call,) = wires.analytics.of_trace(journey.trace.trace_id)
    context = call.context
    token = claims_of(call.token)
    access = claims_of(person.token)

    assert RECORD_USAGE == call.method
    assert journey.scope == {name: str(getattr(context, name)) for name in journey.scope}
    assert (1, journey.request_id) == (context.operation_depth, context.parent_request_id)
    assert frozenset({Scope.USAGE_WRITE}) == context.scopes
    assert {"usage:write"} == set(token["scope"].split())
    assert set(token["scope"].split()) < set(access["scope"].split())
    assert context.expires_at.timestamp() <= token["exp"] <= access["exp"]
    assert {} == dict(context.attributes)
    assert "authorization" not in dict(call.metadata)


@pytest.mark.parametrize("entry", BY_HOP)
async def test_a_token_is_asked_for_the_work_at_hand(
    wires: Wires, principals: Principals, entry: Entry
) -> None:
    """To auth goes who asks, for which thread, run, request and scope, and no other context."""
    person = await principals.user()
    thread_id = await principals.thread(person)
    journey = await send(wires.environment, person, thread_id, entry)
    (call,) = wires.auth.of_trace(journey.trace.trace_id)
    asked = ExchangeTokenRequest.FromString(call.request)

    assert (journey.thread_id, journey.run_id) == (asked.thread_id, asked.run_id)
    assert journey.request_id == asked.transaction_id
    assert (person.token, "analytics") == (asked.subject_token, asked.audience)
    assert ["usage:write"] == list(asked.scopes)
    assert {"x-workload-token", "traceparent"} == {name for name, _ in call.metadata}


async def test_a_question_is_asked_under_its_askers_context(
    wires: Wires, principals: Principals
) -> None:
    """A thread's usage is asked of analytics for its user and thread, to read and no more."""
    environment = wires.environment
    person = await principals.user()
    thread_id = await principals.thread(person)
    trace = Trace.new()
    async with BackendClient(environment.backend_url, token=person.token) as backend:
        usage = await backend.thread_usage(thread_id, traceparent=trace.parent)
    journey = Journey(
        person=person,
        entry=Entry.HTTP,
        thread_id=thread_id,
        run_id=RunId("no-run"),
        request_id=told_by(usage.answer),
        trace=trace,
        text="",
    )
    found = await arrived(environment, journey, QUESTION)
    (call,) = wires.analytics.of_trace(trace.trace_id)

    assert [] == faults(journey, QUESTION, found)
    assert frozenset({Scope.USAGE_READ}) == call.context.scopes


@pytest.mark.parametrize("entry", Entry)
async def test_the_outbox_and_the_stream_keep_the_context(
    wires: Wires, principals: Principals, entry: Entry
) -> None:
    """An entry holds the request's own context, valid when written; no token, nothing wider."""
    environment = wires.environment
    person = await principals.user()
    thread_id = await principals.thread(person)
    label = "a tab" if entry is Entry.WEBSOCKET else None
    await environment.control("analytics", SupervisedProcess.pause)
    try:
        with wires.analytics.away():
            journey = await send(environment, person, thread_id, entry, label=label)
        query = "SELECT * FROM outbox WHERE thread_id = $1"
        (row,) = await asyncio.to_thread(
            environment.postgres.admin.fetch, query, str(thread_id), database="backend"
        )

        def streamed() -> list[UserExecutionContext]:
            return [c for c, _ in entries(environment) if c.thread_id == thread_id]

        await until(streamed)
        on_stream = streamed()
    finally:
        await environment.control("analytics", SupervisedProcess.resume)
    encoded = row["entry"]
    assert isinstance(encoded, bytes)
    context, entry_at_rest = read_entry({b"entry": encoded})

    assert [context] == on_stream
    assert journey.scope == {name: str(getattr(context, name)) for name in journey.scope}
    assert (journey.person.tenant_id, journey.person.user_id) == (row["tenant_id"], row["user_id"])
    assert (journey.request_id, None, 0) == (
        context.request_id,
        context.parent_request_id,
        context.operation_depth,
    )
    assert label == context.websocket_client_id
    assert {} == dict(context.attributes)
    access = claims_of(person.token)
    assert set(access["scope"].split()) >= context.scopes
    assert context.expires_at.timestamp() <= access["exp"]
    assert journey.trace.trace_id in entry_at_rest.traceparent
    assert person.token.encode() not in encoded
    await arrival(environment, journey, STEPS[Entry.WEBSOCKET])


async def test_a_label_goes_with_its_caller_and_nobody_else(
    environment: Environment, principals: Principals
) -> None:
    """Equal labels of two users meet nothing: lines, spans and events are each one's own."""
    label = "tab 1"
    people = [await principals.user(), await principals.user()]
    threads = [await principals.thread(person) for person in people]
    journeys = [
        await send(environment, person, thread_id, Entry.WEBSOCKET, label=label)
        for person, thread_id in zip(people, threads, strict=True)
    ]
    unlabelled = await send(environment, people[0], threads[0], Entry.WEBSOCKET)

    for journey in (*journeys, unlabelled):
        found = await arrived(environment, journey, STEPS[Entry.WEBSOCKET])
        assert [] == faults(journey, STEPS[Entry.WEBSOCKET], found)


async def test_equal_labels_receive_their_own_events(
    environment: Environment, principals: Principals
) -> None:
    """Each event names its thread, run and request, and comes to its own thread's client alone."""
    people = [await principals.user("label-tenant") for _ in range(2)]
    threads = [await principals.thread(person) for person in people]
    url = environment.backend_url
    clients = [
        WebSocketTestClient(token=person.token, base_url=url, client_id="tab") for person in people
    ]
    async with clients[0], clients[1]:
        for client, thread_id in zip(clients, threads, strict=True):
            await client.subscribe(thread_id)
        sent = [
            await client.request_agent(thread_id, "hello")
            for client, thread_id in zip(clients, threads, strict=True)
        ]
        events = [await client.collect_events(10, "agent_completed") for client in clients]
        for client, received in zip(clients, events, strict=True):
            # What was written before the answer has come by now.
            await client.ask({"type": "ping"}, "pong")
            received.extend(await client.collect_events(0))
    for acknowledged, received in zip(sent, events, strict=True):
        told = {(e["thread_id"], e["run_id"], e["request_id"]) for e in received}

        assert {(acknowledged.thread_id, acknowledged.run_id, acknowledged.request_id)} == told
        assert [1, 2, 3, 4, 5] == [event["sequence"] for event in received]


async def test_interleaved_journeys_keep_their_contexts(
    environment: Environment, principals: Principals
) -> None:
    """Many at once, over all entries, both replicas and one connection each, never mix."""
    people = [await principals.user(f"crowd-{number % 3}") for number in range(6)]
    threads = [(person, await principals.thread(person)) for person in people for _ in range(2)]

    # More at once than there are connections, and few enough that no hop is given up after its 2 s.
    at_once = asyncio.Semaphore(6)

    async def one(number: int, person: Person, thread_id: ThreadId) -> Journey:
        entry = list(Entry)[number % 3]
        label = f"tab {number}" if entry is Entry.WEBSOCKET else None
        replica = number // 3 % 2
        async with at_once:
            return await send(environment, person, thread_id, entry, replica=replica, label=label)

    journeys = await asyncio.gather(
        *(one(n, *threads[n % len(threads)]) for n in range(4 * len(threads)))
    )
    for journey in journeys:
        await arrival(environment, journey, STEPS[journey.entry])
    found: dict[str, list[Mark]] = {journey.trace.trace_id: [] for journey in journeys}
    for mark in await marks(environment):
        found.get(str(mark.fields.get("trace_id")), []).append(mark)

    for journey in journeys:
        assert [] == faults(journey, STEPS[journey.entry], found[journey.trace.trace_id])


@pytest.mark.parametrize("entry", Entry)
async def test_context_from_outside_is_dropped(
    wires: Wires, principals: Principals, entry: Entry
) -> None:
    """Another's context, token and identifiers beside a Bearer token change nothing anywhere."""
    environment = wires.environment
    person, other = await principals.user(), await principals.user()
    thread_id, others = await principals.thread(person), await principals.thread(other)
    async with WebSocketTestClient(token=other.token, base_url=environment.backend_url) as victim:
        await victim.subscribe(others)
        await send(environment, other, others, Entry.HTTP)
    # A real token of the victim's, such as one that leaked from a hop.
    stolen = next(
        call.token
        for call in reversed(wires.analytics.calls)
        if call.context.user_id == other.user_id
    )
    trace, word = Trace.new(), f"forged-{Trace.new().span_id}"
    texts = {
        "traceparent": trace.parent,
        TRANSACTION_TOKEN_KEY: stolen,
        "x-tenant-id": other.tenant_id,
        "x-user-id": other.user_id,
        "x-thread-id": others,
        REQUEST_ID_KEY: f"{word}-request",
    }
    request_id, run_id = await Outsider(
        environment=environment,
        person=person,
        thread_id=thread_id,
        texts=texts,
        forged=forged_context(other, others, word),
    ).send(entry)
    journey = Journey(
        person=person,
        entry=entry,
        thread_id=thread_id,
        run_id=run_id,
        request_id=request_id,
        trace=trace,
        text="hello",
    )
    found = await arrived(environment, journey, STEPS[entry])

    assert [] == faults(journey, STEPS[entry], found)
    for call in wires.analytics.of_trace(trace.trace_id):
        assert person.user_id == call.context.user_id
        assert stolen != call.token
    everything = [mark for mark in await marks(environment) if word in str(mark.fields)]
    assert [] == everything
