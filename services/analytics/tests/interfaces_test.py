"""HTTP and gRPC of a running analytics: what they answer, refuse, and never tell."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.message import Message

from contracts.context import MEMBER_SCOPES, Scope, UserExecutionContext
from contracts.context.carriers.entry import make_usage_entry, write_entry
from contracts.context.carriers.hop import CONTEXT_KEY, TRANSACTION_TOKEN_KEY, write_hop
from services.analytics.tests.running import Running, context_of
from services.analytics.tests.stage import TRACE_ID, TRACEPARENT, event, now
from services.runtime.streams import USAGE_STREAM
from tools.datastores import ValkeyServer
from tools.local.tests.running import LoggedIn
from tools.processes.waiting import LIMIT_SECONDS
from watertight.analytics.v1 import analytics_pb2 as wire
from watertight.analytics.v1.analytics_pb2_grpc import AnalyticsServiceStub

WRITE = frozenset({Scope.USAGE_WRITE})
READ = frozenset({Scope.USAGE_READ})
TOTALS = frozenset({Scope.TENANT_USAGE})
ROUTES = {("GET", "/usage/threads/{thread_id}"), ("GET", "/usage/totals")}
METHODS = {
    "RecordUsage": (wire.RecordUsageRequest(), WRITE),
    "GetThreadUsage": (wire.GetThreadUsageRequest(thread_id="t"), READ),
    "GetTenantTotals": (wire.GetTenantTotalsRequest(), TOTALS),
}
Metadata = tuple[tuple[str, str | bytes], ...]


@pytest.fixture(scope="module")
def administrator(running: Running) -> LoggedIn:
    """A tenant's administrator."""
    return running.new_tenant()


@pytest.fixture(scope="module")
def anna(running: Running, administrator: LoggedIn) -> LoggedIn:
    """A user."""
    return running.new_user(administrator, "anna")


@pytest.fixture(scope="module")
def bert(running: Running, administrator: LoggedIn) -> LoggedIn:
    """Another user of the same tenant."""
    return running.new_user(administrator, "bert")


@pytest.fixture(scope="module")
def stub(running: Running) -> Iterator[AnalyticsServiceStub]:
    """The gRPC interface."""
    with grpc.insecure_channel(running.grpc_target()) as channel:
        yield AnalyticsServiceStub(channel)


def _thread() -> str:
    return f"thread-{uuid.uuid4().hex}"


async def _hop(
    running: Running,
    user: LoggedIn,
    scopes: frozenset[Scope],
    thread: str | None = None,
) -> tuple[UserExecutionContext, Metadata]:
    context = context_of(user, scopes, thread)
    return context, write_hop(context, await running.transaction_token(user, context))


async def _record(running: Running, stub: AnalyticsServiceStub, user: LoggedIn, thread: str) -> str:
    context, metadata = await _hop(running, user, WRITE, thread)
    told = event(context)
    answer = stub.RecordUsage(
        wire.RecordUsageRequest(event=told), metadata=metadata, timeout=LIMIT_SECONDS
    )
    assert answer.stored
    return told.usage_id


def _call(
    stub: AnalyticsServiceStub, method: str, request: Message, metadata: Any
) -> grpc.StatusCode:
    future = getattr(stub, method).future(request, metadata=metadata, timeout=LIMIT_SECONDS)
    code: grpc.StatusCode = future.code()  # waits
    return code


def _error(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert {"error"} == set(body), answer.text
    return answer.status_code, body["error"]["code"]


def test_openapi_names_the_routes(running: Running) -> None:
    """The description holds every route that asks who calls."""
    paths = running.request("GET", "/openapi.json").json()["paths"]
    secured = {
        (method.upper(), path)
        for path, operations in paths.items()
        for method, operation in operations.items()
        if operation.get("security")
    }

    assert ROUTES == secured


@pytest.mark.parametrize("path", [path for _, path in sorted(ROUTES)])
def test_every_route_asks_who_calls(running: Running, anna: LoggedIn, path: str) -> None:
    """Without a token, or with something else than one, nothing is answered."""
    place = path.format(thread_id="t")
    for headers in (
        {},
        {"authorization": "Bearer nonsense"},
        {"authorization": f"Basic {anna.access_token}"},
        {"x-user-id": anna.user_id},
        {"txn-token": anna.access_token},
    ):
        answer = running.request("GET", place, headers=headers)
        assert _error(answer)[0] in {400, 401}


async def test_recorded_usage_is_its_threads(
    running: Running, stub: AnalyticsServiceStub, anna: LoggedIn
) -> None:
    """What is recorded by a hop is told by a hop and over HTTP, and once however often it comes."""
    thread = _thread()
    usage_id = await _record(running, stub, anna, thread)
    context, metadata = await _hop(running, anna, WRITE, thread)
    again = stub.RecordUsage(
        wire.RecordUsageRequest(event=event(context, usage_id)),
        metadata=metadata,
        timeout=LIMIT_SECONDS,
    )
    _, reading = await _hop(running, anna, READ, thread)
    told = stub.GetThreadUsage(
        wire.GetThreadUsageRequest(thread_id=thread), metadata=reading, timeout=LIMIT_SECONDS
    )
    body = running.get(f"/usage/threads/{thread}", anna)

    assert not again.stored
    assert (1, 3, 5) == (
        told.totals.runs,
        told.totals.input_characters,
        told.totals.output_characters,
    )
    assert {
        "thread_id": thread,
        "runs": 1,
        "input_characters": 3,
        "output_characters": 5,
    } == body


async def test_anothers_thread_and_none_are_the_same(
    running: Running, stub: AnalyticsServiceStub, anna: LoggedIn, bert: LoggedIn
) -> None:
    """Another's thread and one that does not exist get the same answer, all zero."""
    thread = _thread()
    await _record(running, stub, anna, thread)
    stranger = running.new_tenant()
    for asker in (bert, stranger):
        hers = running.get(f"/usage/threads/{thread}", asker)
        none = running.get(f"/usage/threads/{'x' * len(thread)}", asker)
        assert {**none, "thread_id": thread} == hers
        assert 0 == hers["runs"]


async def test_totals_are_the_tenants(running: Running, stub: AnalyticsServiceStub) -> None:
    """An administrator is told the exact sums of her tenant, and nobody's identifiers."""
    administrators = [running.new_tenant() for _ in range(2)]
    for administrator in administrators:
        users = [running.new_user(administrator, name) for name in ("anna", "bert")]
        for user in (*users, users[0]):
            await _record(running, stub, user, _thread())
    expected = {"runs": 3, "input_characters": 9, "output_characters": 15, "active_users": 2}
    _, metadata = await _hop(running, administrators[0], TOTALS)
    told = stub.GetTenantTotals(
        wire.GetTenantTotalsRequest(), metadata=metadata, timeout=LIMIT_SECONDS
    )

    assert expected == running.get("/usage/totals", administrators[0])
    assert expected == running.get("/usage/totals", administrators[1])
    assert (3, 2) == (told.totals.runs, told.active_users)


def test_members_are_told_no_totals(running: Running, anna: LoggedIn) -> None:
    """Totals ask for a scope that members' tokens lack."""
    answer = running.request("GET", "/usage/totals", headers=anna.bearer)

    assert (403, "PERMISSION_DENIED") == _error(answer)


def test_methods_are_the_descriptors() -> None:
    """Every method of the interface is tried below."""
    names = [m.name for m in wire.DESCRIPTOR.services_by_name["AnalyticsService"].methods]

    assert sorted(names) == sorted(METHODS)


@pytest.mark.parametrize("method", METHODS)
async def test_hop_needs_a_token_and_its_context(
    running: Running, stub: AnalyticsServiceStub, anna: LoggedIn, method: str
) -> None:
    """Bearer counts for nothing; token and context come once each, and say the same."""
    request, scopes = METHODS[method]
    allowed = scopes & MEMBER_SCOPES or READ
    context, metadata = await _hop(running, anna, allowed, "thread")
    token, encoded = (value for _, value in metadata)
    other = context_of(anna, allowed, "another-thread")
    wider = context_of(anna, allowed | READ | WRITE, "thread")
    unauthenticated = grpc.StatusCode.UNAUTHENTICATED
    refusals: list[tuple[Metadata, set[grpc.StatusCode]]] = [
        ((), {unauthenticated}),
        ((("authorization", f"Bearer {anna.access_token}"),), {unauthenticated}),
        (((TRANSACTION_TOKEN_KEY, token),), {unauthenticated}),
        (((CONTEXT_KEY, encoded),), {unauthenticated}),
        (write_hop(context, anna.access_token), {unauthenticated}),
        (write_hop(other, str(token)), {grpc.StatusCode.PERMISSION_DENIED}),
        (write_hop(wider, str(token)), {grpc.StatusCode.PERMISSION_DENIED}),
        (
            (*metadata, (TRANSACTION_TOKEN_KEY, token)),
            {unauthenticated, grpc.StatusCode.INVALID_ARGUMENT},
        ),
        (
            ((TRANSACTION_TOKEN_KEY, token), (CONTEXT_KEY, b"\xff" * 2000)),
            {grpc.StatusCode.INVALID_ARGUMENT},
        ),
    ]
    for sent, expected in refusals:
        assert _call(stub, method, request, sent) in expected, sent


async def test_token_for_another_service_is_refused(
    running: Running, stub: AnalyticsServiceStub, anna: LoggedIn
) -> None:
    """A transaction token is good for the service that it names."""
    context = context_of(anna, READ, "thread")
    token = await running.transaction_token(anna, context, "backend")

    assert grpc.StatusCode.UNAUTHENTICATED == _call(
        stub,
        "GetThreadUsage",
        wire.GetThreadUsageRequest(thread_id="thread"),
        write_hop(context, token),
    )


async def test_context_speaks_for_its_own_thread(
    running: Running, stub: AnalyticsServiceStub, anna: LoggedIn
) -> None:
    """A hop asks of no other thread than its context's, existing or not."""
    thread = _thread()
    await _record(running, stub, anna, thread)
    _, metadata = await _hop(running, anna, READ, "another")
    for asked in (thread, "absent"):
        request = wire.GetThreadUsageRequest(thread_id=asked)
        assert grpc.StatusCode.PERMISSION_DENIED == _call(stub, "GetThreadUsage", request, metadata)


async def test_missing_scope_is_refused(
    running: Running, stub: AnalyticsServiceStub, anna: LoggedIn
) -> None:
    """A hop that may read records nothing."""
    context, metadata = await _hop(running, anna, READ, "thread")
    request = wire.RecordUsageRequest(event=event(context))

    assert grpc.StatusCode.PERMISSION_DENIED == _call(stub, "RecordUsage", request, metadata)


@pytest.mark.parametrize(
    "change",
    [
        {"usage_id": ""},
        {"usage_id": "x" * 65},
        {"input_characters": -1},
        {"output_characters": 2**62},
    ],
)
async def test_bad_event_is_refused(
    running: Running, stub: AnalyticsServiceStub, anna: LoggedIn, change: dict[str, object]
) -> None:
    """An event out of range is refused, and the service goes on."""
    context, metadata = await _hop(running, anna, WRITE, "thread")
    told = event(context)
    for field, value in change.items():
        setattr(told, field, value)

    assert grpc.StatusCode.INVALID_ARGUMENT == _call(
        stub, "RecordUsage", wire.RecordUsageRequest(event=told), metadata
    )
    assert 200 == running.request("GET", "/health").status_code


@pytest.mark.parametrize("thread", ["null", "x" * 65, "a%00b", "%20", "a%0ab"])
def test_bad_thread_is_refused(running: Running, anna: LoggedIn, thread: str) -> None:
    """What is no identifier is refused, without quoting it."""
    answer = running.request("GET", f"/usage/threads/{thread}", headers=anna.bearer)

    assert (400, "INVALID_ARGUMENT") == _error(answer)
    assert thread not in answer.text


async def test_ended_session_is_refused_within_the_bound(
    running: Running, stub: AnalyticsServiceStub, administrator: LoggedIn
) -> None:
    """2 s after a log-out neither the token nor a hop made with it is served."""
    user = running.new_user(administrator, f"user-{uuid.uuid4().hex[:8]}")
    _, metadata = await _hop(running, user, READ, "thread")
    running.log_out(user)
    ended = now().timestamp() + 2.0
    while now().timestamp() < ended:
        answer = running.request("GET", "/usage/threads/thread", headers=user.bearer)
        if answer.status_code == 401:
            break

    assert 401 == running.request("GET", "/usage/threads/thread", headers=user.bearer).status_code
    assert grpc.StatusCode.UNAUTHENTICATED == _call(
        stub, "GetThreadUsage", wire.GetThreadUsageRequest(thread_id="thread"), metadata
    )


async def test_stream_is_consumed_over_a_restart(
    running: Running, valkey: ValkeyServer, anna: LoggedIn
) -> None:
    """Entries that are written while the service is killed and started again all count once."""
    thread = _thread()
    context = context_of(anna, MEMBER_SCOPES, thread)
    process = running.supervisor["analytics"]
    for number in range(30):
        made = make_usage_entry(context, event(context), TRACEPARENT, now())
        valkey.admin.xadd(USAGE_STREAM, write_entry(made))  # type: ignore[arg-type]
        if number == 15:
            process.kill()
    process.start()
    process.wait_healthy(LIMIT_SECONDS)
    limit = now().timestamp() + 15
    told = running.get(f"/usage/threads/{thread}", anna)
    while told["runs"] < 30 and now().timestamp() < limit:
        told = running.get(f"/usage/threads/{thread}", anna)

    assert (30, 90, 150) == (told["runs"], told["input_characters"], told["output_characters"])


async def test_log_says_contexts_and_no_secrets(
    running: Running, stub: AnalyticsServiceStub, anna: LoggedIn
) -> None:
    """Every line is JSON; those of an operation say its context and its trace; none has a token."""
    thread = _thread()
    context = context_of(anna, WRITE, thread)
    token = await running.transaction_token(anna, context)
    metadata = (*write_hop(context, token), ("traceparent", TRACEPARENT))
    stub.RecordUsage(
        wire.RecordUsageRequest(event=event(context)), metadata=metadata, timeout=LIMIT_SECONDS
    )
    lines = [line for line in running.log_lines() if line.get("thread_id") == thread]

    assert {"usage recorded"} <= {line["event"] for line in lines}
    for line in lines:
        assert (anna.tenant_id, anna.user_id, context.request_id, TRACE_ID) == (
            line["tenant_id"],
            line["user_id"],
            line["request_id"],
            line["trace_id"],
        )
    written = json.dumps(running.log_lines())
    assert token not in written
    assert anna.access_token not in written
    assert re.search(r"eyJ[A-Za-z0-9_-]{10,}\.", written) is None


def test_ends_in_order(running: Running) -> None:
    """Asked to end, the process does so by itself, with code 0, and comes back."""
    process = running.supervisor["analytics"]
    process.stop()

    assert 0 == process.exit_code
    process.start()
    assert 200 == running.request("GET", "/health").status_code
