"""Bad input to every route and method, enumerated from OpenAPI and the descriptors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from services.backend.tests.running import Running
from tools.local.tests.running import LoggedIn, error_of
from watertight.backend.v1 import backend_pb2 as wire
from watertight.backend.v1.backend_pb2_grpc import BackendServiceStub

METHODS = list(wire.DESCRIPTOR.services_by_name["BackendService"].methods)
HOSTILE: list[Any] = [
    None, 5, -1, 1.5, True, 2**63, 10**400, [], {}, "", " ", "\0", "x" * 20_000, "\ud800",
]  # fmt: skip


@pytest.fixture(scope="module")
def anna(running: Running) -> LoggedIn:
    """A user."""
    return running.new_user(running.new_tenant())


@pytest.fixture(scope="module")
def stub(running: Running) -> Iterator[BackendServiceStub]:
    """The gRPC interface of one replica."""
    with grpc.insecure_channel(running.grpc_target()) as channel:
        yield BackendServiceStub(channel)


def test_every_route_survives_bad_input(running: Running, anna: LoggedIn) -> None:
    """Spoilt bodies, paths and parameters: a typed error each time, and a healthy service."""
    thread_id = running.thread(anna)
    for method, template, operation in running.routes():
        for asked in ("%00", "a%0Ab", "x" * 65, "null", "%F0%9F%92%A9" * 17):
            if "{" in template:
                answer = running.request(
                    method,
                    template.format(thread_id=asked),
                    headers=anna.bearer,
                    json={"message": "x"},
                )
                assert (400, "INVALID_ARGUMENT") == error_of(answer), (template, asked)
        path = template.format(thread_id=thread_id)
        for body in bad_bodies(operation):
            answer = running.request(
                method,
                path,
                headers={**anna.bearer, "content-type": "application/json"},
                content=body,
            )
            status, _ = error_of(answer)
            assert status in (400, 413), (path, body[:100], answer.text)
            assert "xxxxxxxxxx" not in answer.text
        for parameter in operation.get("parameters", []):
            if "query" == parameter["in"]:
                for value in (
                    "",
                    "-1",
                    "x",
                    "1.5",
                    str(2**63),
                    "9" * 400,
                    "%00",
                    "0&after_sequence=",
                ):
                    answer = running.request(
                        method, f"{path}?{parameter['name']}={value}", headers=anna.bearer
                    )
                    assert 400 == error_of(answer)[0], (path, value)
    assert 200 == running.request("GET", "/health").status_code


def bad_bodies(operation: dict[str, Any]) -> Iterator[bytes]:
    """Bodies that are no JSON, no object, or have a field spoilt, left out or too many."""
    if "requestBody" not in operation:
        return
    yield from (b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"NaN", b"[" * 20_000, b" " * 70_000)
    schema = {"title": "a", "message": "a", "run_id": "a"}
    name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].split("/")[-1]
    fields = {"NewThread": ["title"], "NewMessage": ["message", "run_id"]}[name]
    required = fields[0]
    sound = {field: schema[field] for field in fields}
    yield json.dumps({**sound, "user_id": "x"}).encode()
    yield json.dumps({key: value for key, value in sound.items() if key != required}).encode()
    for field in fields:
        for value in HOSTILE:
            if not (field == "run_id" and value is None):
                yield json.dumps({**sound, field: value}).encode()


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_method_survives_bad_input(
    method: MethodDescriptor, stub: BackendServiceStub, anna: LoggedIn, running: Running
) -> None:
    """Each field spoilt: INVALID_ARGUMENT, and a healthy service."""
    call = getattr(stub, method.name)
    request_class = GetMessageClass(method.input_type)
    sound = {"thread_id": running.thread(anna), "message": "x", "title": "x", "run_id": "x"}
    names = [field.name for field in method.input_type.fields]
    for name in names:
        hostile: list[Any] = ["", " ", "\0", "x" * 20_000]
        if name == "after_sequence":
            hostile = [-1, -(2**63)]
        for value in hostile:
            fields = {key: sound[key] for key in names if key in sound}
            with pytest.raises(grpc.RpcError) as refusal:
                call(request_class(**{**fields, name: value}), metadata=anna.metadata, timeout=10)
            assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT, (name, value)
    assert stub.ListThreads(wire.ListThreadsRequest(), metadata=anna.metadata, timeout=10).threads
