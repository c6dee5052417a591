"""How deep a chain of calls may be: each names its caller's request, and there is an end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from contracts.context import (
    MAXIMUM_OPERATION_DEPTH,
    Attributes,
    DepthExceeded,
    RequestId,
    RunId,
    Scope,
    UserExecutionContext,
    encode,
    to_message,
)
from contracts.context.carriers.hop import CONTEXT_KEY, TRANSACTION_TOKEN_KEY
from integration.environment import Environment
from integration.fixtures.principals import Principals
from integration.propagation.evidence import marks_of
from integration.propagation.journeys import Trace
from integration.propagation.outside import RECORD_USAGE, kept, record_usage
from services.runtime.auth_client import AuthClient

NOTE = "a-note-of-the-caller"
"""An attribute: it goes with the context, and is told to nobody."""

pytestmark = [pytest.mark.integration, pytest.mark.real_services]


def new_request() -> RequestId:
    """An identifier that no request has had."""
    return RequestId(Trace.new().trace_id)


@dataclass(frozen=True, slots=True)
class Chain:
    """A user's request, and the token under which services call each other for it."""

    environment: Environment
    context: UserExecutionContext
    token: str

    async def call(self, context: UserExecutionContext, encoded: bytes, trace: Trace) -> str:
        """Records usage under an encoded context, and gives the status."""
        metadata = (
            (TRANSACTION_TOKEN_KEY, self.token),
            (CONTEXT_KEY, encoded),
            ("traceparent", trace.parent),
        )
        return await record_usage(self.environment, context, Trace.new().span_id, metadata)


@pytest.fixture
async def chain(environment: Environment, principals: Principals) -> Chain:
    """Of somebody in a thread of hers, with a real token from auth."""
    person = await principals.user()
    context = UserExecutionContext(
        tenant_id=person.tenant_id,
        user_id=person.user_id,
        thread_id=await principals.thread(person),
        run_id=RunId("deep-run"),
        request_id=new_request(),
        scopes=frozenset({Scope.USAGE_WRITE}),
        attributes=Attributes({"note": NOTE}),
        issued_at=datetime.now(UTC),
        expires_at=datetime.max.replace(tzinfo=UTC),
    )
    secret = environment.credentials.workload_secrets["backend"]
    auth = AuthClient(environment.auth_grpc_target, workload="backend", secret=secret)
    try:
        token = await auth.exchange(person.token, context, "analytics")
    finally:
        await auth.close()
    return Chain(environment, context.narrowed(expires_at=token.expires_at), token.value)


async def test_each_call_of_a_chain_names_its_callers_request(chain: Chain) -> None:
    """Down to depth 10, line and row of each call tell its depth, its request and its parent."""
    trace = Trace.new()
    contexts = [chain.context]
    for _ in range(MAXIMUM_OPERATION_DEPTH):
        contexts.append(contexts[-1].child(new_request()))
        assert "OK" == await chain.call(contexts[-1], encode(contexts[-1]), trace)
    left = await marks_of(chain.environment, trace.trace_id)
    wanted = [
        (depth, context.request_id, contexts[depth - 1].request_id)
        for depth, context in enumerate(contexts)
    ][1:]
    for kind, what in (("log", "usage recorded"), ("span", RECORD_USAGE[1:])):
        told = [
            tuple(m.said(("operation_depth", "request_id", "parent_request_id")).values())
            for m in left
            if (m.kind, m.what) == (kind, what)
        ]
        assert wanted == sorted(told)
    rows = {
        (mark.fields["request_id"], mark.fields["parent_request_id"])
        for mark in left
        if mark.kind == "trail"
    }

    assert {lineage[1:] for lineage in wanted} == rows
    assert [] == [mark for mark in left if NOTE in str(mark.fields)]
    with pytest.raises(DepthExceeded):
        contexts[-1].child(new_request())


async def test_a_call_too_deep_is_refused_and_touches_nothing(chain: Chain) -> None:
    """A context of depth 11 gets a typed error, seen in log and span alone; nothing is kept."""
    trace = Trace.new()
    context = chain.context
    message = to_message(context)
    message.operation_depth = MAXIMUM_OPERATION_DEPTH + 1
    message.parent_request_id, message.request_id = context.request_id, new_request()
    before = await kept(chain.environment, context.user_id)
    code = await chain.call(context, message.SerializeToString(), trace)
    after = await kept(chain.environment, context.user_id)
    left = await marks_of(chain.environment, trace.trace_id)

    assert "INVALID_ARGUMENT" == code
    assert before == after
    assert {
        ("analytics", "log", "refused"),
        ("analytics", "log", "answered"),
        ("analytics", "span", RECORD_USAGE[1:]),
    } == {mark.step for mark in left}
    assert {code} == {mark.fields.get("code", mark.fields.get("status")) for mark in left}
