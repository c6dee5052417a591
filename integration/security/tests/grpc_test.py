import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import grpc
import grpc.aio
import pytest

from contracts.context import (
    RequestId,
    RunId,
    Scope,
    TenantId,
    ThreadId,
    UserExecutionContext,
    UserId,
)
from contracts.context.carriers.hop import WORKLOAD_TOKEN_KEY, write_hop
from integration.environment import Environment
from integration.security.descriptors import PLAIN, Method, bad_messages, methods, plain_message
from integration.security.inputs import MARKER
from integration.security.judging import quoted_or_inside
from integration.security.stage import People
from services.runtime.auth_client import AuthClient as Workload
from services.runtime.workload import make_workload_token

pytestmark = pytest.mark.usefixtures("unharmed")

Metadata = Sequence[tuple[str, str | bytes]]
LIMIT_SECONDS = 10.0

CLEAR = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNIMPLEMENTED,
}
STANDARD = ("grpc.health.", "grpc.reflection.")

BAD_METADATA: tuple[tuple[str, Metadata], ...] = (
    ("none", ()),
    ("no JWT", (("authorization", f"Bearer {MARKER}"),)),
    ("two", (("authorization", f"Bearer {MARKER}"), ("authorization", f"Bearer {MARKER}"))),
    ("Basic", (("authorization", f"Basic {MARKER}"),)),
    ("oversized", (("authorization", f"Bearer {MARKER * 300}"),)),
    ("hop of nobody", (("txn-token", MARKER), ("x-execution-context-bin", MARKER.encode()))),
    ("two hops", (("txn-token", MARKER), ("txn-token", MARKER))),
    ("no workload", ((WORKLOAD_TOKEN_KEY, MARKER),)),
)


def unquoted(text: str | None) -> list[str]:
    """What is wrong with a status's details."""
    return list(quoted_or_inside(text or ""))


async def call(
    channel: grpc.aio.Channel, method: Method, message: bytes, metadata: Metadata
) -> tuple[grpc.StatusCode, str]:
    """Sends bytes to a method of whatever kind, and takes the first answer."""
    declared = method.descriptor
    options: Any = {"metadata": metadata, "timeout": LIMIT_SECONDS}
    answers: Any
    try:
        if declared.client_streaming:
            answers = channel.stream_stream(method.path)
            answers = answers(iter([message]), **options)
        elif declared.server_streaming:
            answers = channel.unary_stream(method.path)
            answers = answers(message, **options)
        else:
            answers = channel.unary_unary(method.path)
            await answers(message, **options)
            return grpc.StatusCode.OK, ""
        await answers.read()
        answers.cancel()
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""


def targets(environment: Environment) -> dict[str, str]:
    """Each service's gRPC interface."""
    return {
        "auth": environment.auth_grpc_target,
        "analytics": environment.analytics_grpc_target,
        "backend": environment.backend_grpc_targets[0],
    }


async def credential(environment: Environment, people: People, service: str) -> Metadata:
    """What gets a call past the boundary of a service's methods."""
    session = await people.session_of(people.member)
    if service == "backend":
        return (("authorization", f"Bearer {session.access_token}"),)
    secret = environment.credentials.workload_secrets["backend"]
    if service == "auth":
        return ((WORKLOAD_TOKEN_KEY, make_workload_token("backend", secret, datetime.now(UTC))),)
    now = datetime.now(UTC)
    context = UserExecutionContext(
        tenant_id=TenantId(session.tenant_id),
        user_id=UserId(session.user_id),
        # Those of a plain message: a bad value beside them is judged for itself.
        thread_id=ThreadId(PLAIN),
        run_id=RunId(PLAIN),
        request_id=RequestId(uuid4().hex),
        scopes=frozenset({Scope.USAGE_READ, Scope.USAGE_WRITE}),
        issued_at=now,
        expires_at=now + timedelta(seconds=30),
    )
    workload = Workload(environment.auth_grpc_target, workload="backend", secret=secret)
    try:
        exchanged = await workload.exchange(session.access_token, context, "analytics")
    finally:
        await workload.close()
    return write_hop(context, exchanged.value)


async def test_every_server_declares_its_methods(environment: Environment) -> None:
    """The enumeration is not empty, so the other tests are about something."""
    found = {
        method.path
        for target in targets(environment).values()
        for method in await asyncio.to_thread(methods, target)
    }

    assert {
        "/watertight.backend.v1.BackendService/SendMessage",
        "/watertight.analytics.v1.AnalyticsService/RecordUsage",
        "/watertight.auth.v1.AuthService/ExchangeToken",
        "/grpc.health.v1.Health/Check",
    } <= found


async def test_plain_message_is_served(environment: Environment, people: People) -> None:
    """Beside plain values the one bad value is what a message is refused for."""
    target = targets(environment)["analytics"]
    metadata = await credential(environment, people, "analytics")
    (record,) = [
        method
        for method in await asyncio.to_thread(methods, target)
        if method.name == "RecordUsage"
    ]
    message = plain_message(record.descriptor.input_type).SerializeToString()
    async with grpc.aio.insecure_channel(target) as channel:
        answer = await call(channel, record, message, metadata)

    assert (grpc.StatusCode.OK, "") == answer


@pytest.mark.parametrize("service", ["auth", "analytics", "backend"])
async def test_method_refuses_every_bad_message(
    environment: Environment, people: People, service: str
) -> None:
    """Each field of each method's message, and bytes that are no message."""
    target = targets(environment)[service]
    metadata = await credential(environment, people, service)
    faults = []
    refused = 0
    async with grpc.aio.insecure_channel(target) as channel:
        for method in await asyncio.to_thread(methods, target):
            for what, message in bad_messages(method.descriptor.input_type):
                code, details = await call(channel, method, message, metadata)
                refused += code is not grpc.StatusCode.OK
                wrong = unquoted(details)
                if code not in CLEAR:
                    wrong.append(f"{code.name}: {details}")
                faults += [f"{method.path}, {what}: {each}" for each in wrong]

    assert [] == faults
    assert refused > 10


@pytest.mark.parametrize("service", ["auth", "analytics", "backend"])
async def test_method_refuses_every_bad_credential(
    environment: Environment, people: People, service: str
) -> None:
    """No method of a service's own serves without a credential, or with another boundary's."""
    target = targets(environment)[service]
    others = [each for each in ("auth", "analytics", "backend") if each != service]
    foreign = [(f"that of {each}", await credential(environment, people, each)) for each in others]
    faults = []
    async with grpc.aio.insecure_channel(target) as channel:
        for method in await asyncio.to_thread(methods, target):
            if method.service.startswith(STANDARD):
                continue
            for what, metadata in (*BAD_METADATA, *foreign):
                code, details = await call(channel, method, b"", metadata)
                wrong = unquoted(details)
                if code not in {
                    grpc.StatusCode.UNAUTHENTICATED,
                    grpc.StatusCode.INVALID_ARGUMENT,
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                }:
                    wrong.append(f"{code.name}: {details}")
                faults += [f"{method.path}, {what}: {each}" for each in wrong]

    assert [] == faults


async def test_unknown_methods_are_refused(environment: Environment) -> None:
    """What is not declared is UNIMPLEMENTED, and nothing of the path is quoted."""
    answers = []
    for target in targets(environment).values():
        async with grpc.aio.insecure_channel(target) as channel:
            for path in (f"/{MARKER}/x", "/watertight.auth.v1.AuthService/Nothing"):
                unknown: Any = channel.unary_unary(path)
                try:
                    await unknown(b"", timeout=LIMIT_SECONDS)
                except grpc.aio.AioRpcError as error:
                    answers.append((error.code(), unquoted(error.details())))

    assert [(grpc.StatusCode.UNIMPLEMENTED, [])] * 6 == answers
