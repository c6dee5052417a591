import secrets
from collections.abc import AsyncIterator

import pytest

from contracts.context import ThreadId
from integration.clients.auth import AuthClient
from integration.clients.backend import BackendClient
from integration.clients.results import Session
from integration.environment import Environment
from integration.environment.spans import ReceivedSpan
from tools.processes.waiting import until

PASSWORD = secrets.token_urlsafe(12)
SERVICES = {"auth", "analytics", "backend"}
# The spans that one message leaves: the edge, the exchange of its token, the usage told by the hop,
# and the same usage from the stream.
NAMES = {
    "POST /threads/{thread_id}/messages",
    "watertight.auth.v1.AuthService/ExchangeToken",
    "watertight.analytics.v1.AnalyticsService/RecordUsage",
    "consume usage",
}


@pytest.fixture
async def environment() -> AsyncIterator[Environment]:
    """The whole system."""
    async with Environment(replicas=1) as environment:
        yield environment


async def _logged_in(environment: Environment, tenant: str) -> Session:
    async with AuthClient(environment.auth_url) as auth:
        await auth.create_tenant(
            environment.credentials.operator_secret, tenant, login_name="ann", password=PASSWORD
        )
        return await auth.log_in(tenant, "ann", PASSWORD)


async def _sent(
    environment: Environment, session: Session, trace_id: str, parent_id: str, text: str
) -> ThreadId:
    """Sends a message under a trace of its own; gives its thread."""
    async with BackendClient(environment.backend_url, token=session.access_token) as backend:
        thread = await backend.create_thread("notes")
        traceparent = f"00-{trace_id}-{parent_id}-01"
        await backend.send_message(thread.thread_id, text, traceparent=traceparent)
    return thread.thread_id


def _owner(span: ReceivedSpan) -> tuple[str | int | None, ...]:
    names = ("tenant_id", "user_id", "thread_id")
    return tuple(span.attributes.get(f"watertight.{name}") for name in names)


async def test_one_message_is_one_trace_under_one_context(
    environment: Environment,
) -> None:
    """Spans of all services say whose message it was, each continues another, none what it says."""
    contents, owners, traces = [], [], []
    for tenant in ("acme", "umbrella"):
        session = await _logged_in(environment, tenant)
        trace_id, parent_id = secrets.token_hex(16), secrets.token_hex(8)
        contents += [secrets.token_hex(8), session.access_token]
        thread_id = await _sent(environment, session, trace_id, parent_id, contents[-2])
        owners.append((session.tenant_id, session.user_id, thread_id))
        traces.append((trace_id, parent_id))
    for trace_id, _ in traces:
        await until(lambda t=trace_id: {s.name for s in environment.spans.spans_of(t)} >= NAMES)  # type: ignore[misc]

    for owner, (trace_id, parent_id) in zip(owners, traces, strict=True):
        spans = environment.spans.spans_of(trace_id)
        assert SERVICES == {span.service for span in spans}
        assert NAMES == {span.name for span in spans}
        assert {owner} == {_owner(span) for span in spans}
        assert {span.parent_id for span in spans} <= {parent_id, *(s.span_id for s in spans)}
        assert [parent_id] == [s.parent_id for s in spans if s.name.startswith("POST")]
    everything = b"".join(environment.spans.exports)
    assert [] == [word for word in (*contents, PASSWORD) if word.encode() in everything]
