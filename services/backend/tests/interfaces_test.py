"""HTTP and gRPC of a running backend: what they offer, refuse, and never tell."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from services.backend.tests.running import REPLICAS, Running
from tools.local.tests.running import LoggedIn, error_of
from tools.processes.waiting import until
from watertight.backend.v1 import backend_pb2 as wire
from watertight.backend.v1.backend_pb2_grpc import BackendServiceStub

ABSENT = "f" * 32
VARYING = {"date", "x-request-id"}
USAGE_BOUND_SECONDS = 5.0
REVOCATION_BOUND_SECONDS = 2.0
METHODS = list(wire.DESCRIPTOR.services_by_name["BackendService"].methods)


@pytest.fixture(scope="module")
def tenant(running: Running) -> LoggedIn:
    """A tenant's administrator."""
    return running.new_tenant()


@pytest.fixture(scope="module")
def anna(running: Running, tenant: LoggedIn) -> LoggedIn:
    """A user."""
    return running.new_user(tenant, "anna")


@pytest.fixture(scope="module")
def bert(running: Running, tenant: LoggedIn) -> LoggedIn:
    """Another user of the same tenant."""
    return running.new_user(tenant, "bert")


@pytest.fixture(scope="module")
def stub(running: Running) -> Iterator[BackendServiceStub]:
    """The gRPC interface of one replica."""
    with grpc.insecure_channel(running.grpc_target()) as channel:
        yield BackendServiceStub(channel)


def test_openapi_names_routes_and_frames(running: Running) -> None:
    """The description holds every route, and in an extension every WebSocket frame."""
    description = running.request("GET", "/openapi.json").json()

    assert {
        ("POST", "/threads"),
        ("GET", "/threads"),
        ("GET", "/threads/{thread_id}/usage"),
        ("POST", "/threads/{thread_id}/session"),
        ("POST", "/threads/{thread_id}/messages"),
        ("GET", "/threads/{thread_id}/messages"),
        ("GET", "/threads/{thread_id}/events"),
        ("POST", "/websocket-tickets"),
    } == {(method, path) for method, path, _ in running.routes()}
    assert {"authenticate", "subscribe", "unsubscribe", "agent_request", "ping"} == set(
        description["x-websocket-frames"]
    )


def test_every_route_asks_who_calls(running: Running, anna: LoggedIn) -> None:
    """Without a token, with two, or with one that is none: refused before the body is read."""
    for method, template, _ in running.routes():
        path = template.format(thread_id=ABSENT)
        for headers in (
            [],
            [("authorization", "Bearer nonsense")],
            [("authorization", f"Basic {anna.access_token}")],
            [("x-user-id", anna.user_id)],
        ):
            answer = running.request(method, path, headers=headers, content=b"{")
            assert answer.status_code in (400, 401), (path, headers)
            error_of(answer)
        twice = [("authorization", f"Bearer {anna.access_token}")] * 2
        assert (400, "INVALID_ARGUMENT") == error_of(running.request(method, path, headers=twice))


def test_anothers_thread_and_none_get_one_answer(
    running: Running, anna: LoggedIn, bert: LoggedIn
) -> None:
    """Status, body and headers are equal but for the request's identifier, over both interfaces."""
    thread_id = running.thread(anna)
    running.send(anna, thread_id, "secret")
    for method, path, _ in running.routes():
        if "{" not in path:
            continue
        twins = []
        for asked in (thread_id, ABSENT):
            body = {"message": "mine"} if method == "POST" else None
            answer = running.request(
                method, path.format(thread_id=asked), headers=bert.bearer, json=body
            )
            assert (404, "NOT_FOUND") == error_of(answer)
            text = re.sub(r'"request_id":"[0-9a-f]{32}"', "", answer.text)
            headers = {k: v for k, v in answer.headers.items() if k not in VARYING}
            twins.append((text, headers))
        assert twins[0] == twins[1]
    assert 2 == len(
        running.request("GET", f"/threads/{thread_id}/messages", headers=anna.bearer).json()[
            "messages"
        ]
    )


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_method_asks_who_calls_and_finds_only_hers(
    method: MethodDescriptor,
    running: Running,
    stub: BackendServiceStub,
    anna: LoggedIn,
    bert: LoggedIn,
) -> None:
    """Context metadata is no credential; another's thread and none are equally not found."""
    call = getattr(stub, method.name)
    request_class = GetMessageClass(method.input_type)
    for metadata in (
        (),
        (("authorization", "Bearer nonsense"),),
        (("txn-token", anna.access_token), ("x-execution-context-bin", b"x")),
    ):
        with pytest.raises(grpc.RpcError) as refusal:
            call(request_class(), metadata=metadata, timeout=10)
        assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED
    names = {field.name for field in method.input_type.fields}
    if "thread_id" not in names:
        return
    twins = []
    for asked in (running.thread(anna), ABSENT):
        more = {"message": "mine"} if "message" in names else {}
        with pytest.raises(grpc.RpcError) as refusal:
            call(request_class(thread_id=asked, **more), metadata=bert.metadata, timeout=10)
        twins.append((refusal.value.code(), refusal.value.details()))
    assert twins[0] == twins[1]
    assert twins[0][0] is grpc.StatusCode.NOT_FOUND


def test_both_interfaces_tell_the_same(
    running: Running, stub: BackendServiceStub, anna: LoggedIn
) -> None:
    """What is sent by gRPC is read over HTTP at the other replica, and the other way round."""
    metadata = anna.metadata
    created = stub.CreateThread(wire.CreateThreadRequest(title="by gRPC"), metadata=metadata)
    thread_id = created.thread.thread_id
    sent = stub.SendMessage(
        wire.SendMessageRequest(thread_id=thread_id, message="one"), metadata=metadata
    )
    over_http = running.send(anna, thread_id, "two", REPLICAS[1])
    messages = stub.ListMessages(wire.ListMessagesRequest(thread_id=thread_id), metadata=metadata)
    events = stub.ListEvents(
        wire.ListEventsRequest(thread_id=thread_id, after_sequence=5), metadata=metadata
    )
    path = f"/threads/{thread_id}"
    http_messages = running.request("GET", f"{path}/messages", headers=anna.bearer).json()
    http_events = running.request(
        "GET", f"{path}/events?after_sequence=5", REPLICAS[1], headers=anna.bearer
    ).json()

    assert (5, 10) == (sent.sequence, over_http["sequence"])
    assert ["one", "You said: one", "two", "You said: two"] == [
        message.content for message in messages.messages
    ]
    assert [m["message_id"] for m in http_messages["messages"]] == [
        message.message_id for message in messages.messages
    ]
    assert [6, 7, 8, 9, 10] == [event.sequence for event in events.events]
    assert wire.EVENT_TYPE_AGENT_COMPLETED == events.events[-1].type
    assert [(e.sequence, e.request_id, e.content) for e in events.events] == [
        (e["sequence"], e["request_id"], e["content"]) for e in http_events["events"]
    ]
    assert 10 == events.head_sequence == http_events["head_sequence"]


async def test_usage_arrives_by_every_way_and_once(running: Running, anna: LoggedIn) -> None:
    """Hop and stream tell the same events: at once what HTTP sent, soon what WebSocket sent."""
    thread_id = running.thread(anna)
    path = f"/threads/{thread_id}/usage"
    running.send(anna, thread_id, "hello")
    at_once = running.request("GET", path, headers=anna.bearer).json()
    async with running.client(anna, REPLICAS[1]) as client:
        await client.send(type="agent_request", thread_id=thread_id, message="hello")
        await client.next("acknowledged")

    def ask() -> dict[str, Any]:
        body: dict[str, Any] = running.request("GET", path, headers=anna.bearer).json()
        return body

    await until(lambda: ask()["runs"] == 2, USAGE_BOUND_SECONDS)
    later = ask()

    usage = {"thread_id": thread_id, "runs": 1, "input_characters": 5, "output_characters": 15}
    assert usage == at_once
    assert {**usage, "runs": 2, "input_characters": 10, "output_characters": 30} == later


async def test_usage_outlives_an_absent_analytics(running: Running, anna: LoggedIn) -> None:
    """While analytics is down messages are acknowledged and questions refused; later it has all."""
    thread_id = running.thread(anna)
    path = f"/threads/{thread_id}/usage"
    analytics = running.supervisor["analytics"]
    await asyncio.to_thread(analytics.kill)
    running.send(anna, thread_id, "hello")
    refused = running.request("GET", path, headers=anna.bearer)
    await asyncio.to_thread(analytics.start)

    def told() -> bool:
        answer = running.request("GET", path, headers=anna.bearer)
        return answer.status_code == 200 and answer.json()["runs"] == 1

    await until(told)

    assert (503, "UNAVAILABLE") == error_of(refused)


async def test_a_log_out_ends_calls_at_every_replica(running: Running, tenant: LoggedIn) -> None:
    """Within 2 s of the log-out HTTP and gRPC refuse the token at both replicas."""
    user = running.new_user(tenant, "leaver")

    def refused(name: str) -> bool:
        return running.request("GET", "/threads", name, headers=user.bearer).status_code == 401

    assert not any(refused(name) for name in REPLICAS)
    running.log_out(user)
    await until(lambda: all(refused(name) for name in REPLICAS), REVOCATION_BOUND_SECONDS)
    for name in REPLICAS:
        with (
            grpc.insecure_channel(running.grpc_target(name)) as channel,
            pytest.raises(grpc.RpcError) as refusal,
        ):
            BackendServiceStub(channel).ListThreads(
                wire.ListThreadsRequest(), metadata=user.metadata, timeout=5
            )
        assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_logs_hold_identifiers_and_no_content(
    running: Running, anna: LoggedIn, bert: LoggedIn
) -> None:
    """Each line says its caller's context and trace; no title, message, token or asked-for name."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {**anna.bearer, "traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    answer = running.request("POST", "/threads", headers=headers, json={"title": "canarytitle"})
    thread_id = answer.json()["thread_id"]
    running.request(
        "POST",
        f"/threads/{thread_id}/messages",
        headers=headers,
        json={"message": "canarymessage"},
    )
    running.request("GET", f"/threads/{thread_id}/messages", headers=bert.bearer)
    lines = [line for line in running.log_lines(REPLICAS[0]) if line.get("trace_id") == trace]
    everything = running.supervisor[REPLICAS[0]].log_path.read_text()

    assert not any(
        thread_id in str(line)
        for line in running.log_lines(REPLICAS[0])
        if line.get("user_id") != anna.user_id
    )
    assert {anna.user_id} == {line["user_id"] for line in lines}
    assert "message acknowledged" in {line["event"] for line in lines}
    assert "canary" not in everything
    assert anna.access_token not in everything
