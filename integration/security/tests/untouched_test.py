from collections.abc import Sequence

import pytest

from contracts.context.carriers.hop import write_hop
from integration.clients.auth import AuthClient
from integration.clients.results import Session
from integration.environment import Environment
from integration.security.effects import heard, look, settled
from integration.security.people import People, Person, settle_in
from integration.security.refusals import (
    RECORD_USAGE,
    SEND_MESSAGE,
    Case,
    over_edges,
    over_hops,
    over_websockets,
    over_workloads,
)
from integration.security.sending import (
    Pairs,
    Send,
    bearer,
    over_grpc,
    over_http,
    over_websocket,
)
from integration.security.stage import Stage
from watertight.backend.v1.backend_pb2 import SendMessageRequest

TYPED = {"UNAUTHENTICATED", "PERMISSION_DENIED", "INVALID_ARGUMENT"}
# A stranger's connection is closed with these, or not opened.
CLOSED = {"4400", "4401", "1009", "403"}


@pytest.fixture
async def stage(environment: Environment, people: People) -> Stage:
    """Both logged in."""
    others = await settle_in(environment)

    async def log_in(person: Person) -> Session:
        async with AuthClient(environment.auth_url) as auth:
            return await auth.log_in(person.tenant, person.login_name, person.password)

    mine, theirs = await log_in(people.member), await log_in(others.member)
    return Stage(environment, mine, theirs, people.thread_id)


async def refused_without_effect(
    environment: Environment, cases: Sequence[Case], codes: set[str]
) -> list[str]:
    """Sends each; gives what was wrong: no refusal, not counted once, or something touched."""
    faults = []
    first = await settled(environment)
    before = first
    for case in cases:
        code = await case.send()
        after = await look(environment)
        change = after.since(before)
        before = after
        if code not in codes:
            faults.append(f"{case.what}: {code}")
        counted = [process for process, _, _ in change.refusals.elements()]
        if counted != [case.asked]:
            faults.append(f"{case.what}: counted as {dict(change.refusals)}")
        faults += [f"{case.what}: {each}" for each in change.touched(case.asked)]
    # What would have come late, such as by the outbox and the stream, has come by now.
    late = (await heard(environment, before)).since(before)
    faults += [f"late: {each}" for each in late.touched()]
    faults += [f"late: counted {each}" for each in late.refusals]
    return faults


async def test_refusals_at_the_edges_touch_nothing(stage: Stage) -> None:
    """A bad Bearer token is refused and counted once, and nothing else happens anywhere."""
    hop = await stage.exchanged(stage.mine, stage.context(stage.mine))
    cases = list(over_edges(stage, hop))

    assert [] == await refused_without_effect(stage.environment, cases, TYPED)
    assert 70 < len(cases)


async def test_refusals_of_hops_touch_nothing(stage: Stage) -> None:
    """A context that its token does not carry is refused and counted once, before any statement."""
    cases = await over_hops(stage)

    assert [] == await refused_without_effect(stage.environment, cases, TYPED)
    assert 20 < len(cases)


async def test_refusals_of_workloads_touch_nothing(stage: Stage) -> None:
    """Who is no service of ours, or asks for more than a user may, gets no token and no look-up."""
    cases = list(over_workloads(stage))

    assert [] == await refused_without_effect(stage.environment, cases, TYPED)


async def test_refusals_of_websockets_touch_nothing(stage: Stage) -> None:
    """A stranger's connection ends with a documented code, counted once, and no look-up."""
    hop = await stage.exchanged(stage.mine, stage.context(stage.mine))
    cases = list(over_websockets(stage, hop))

    assert [] == await refused_without_effect(stage.environment, cases, CLOSED)


@pytest.mark.parametrize(
    ("way", "roles", "called"),
    [
        ("HTTP", {"backend_service", "auth_service", "analytics_service"}, {"auth", "analytics"}),
        ("gRPC", {"backend_service", "auth_service", "analytics_service"}, {"auth", "analytics"}),
        ("HTTP to analytics", {"analytics_service"}, set[str]()),
        ("HTTP to auth", {"auth_service"}, set[str]()),
        ("hop", {"analytics_service"}, set[str]()),
    ],
)
async def test_what_is_served_is_seen(
    stage: Stage, way: str, roles: set[str], called: set[str]
) -> None:
    """The same requests with good credentials move every figure that refusals must not move."""
    environment, thread_id = stage.environment, stage.thread_id
    good = [bearer(stage.mine.access_token)]
    context = stage.context(stage.mine)
    hop = write_hop(context, await stage.exchanged(stage.mine, context))
    body = {"message": "hello"}
    message = SendMessageRequest(thread_id=thread_id, message="hello").SerializeToString()
    sends: dict[str, tuple[str, Send, Pairs]] = {
        "HTTP": (
            "backend-1",
            over_http(environment.backend_url, "POST", f"/threads/{thread_id}/messages", body),
            good,
        ),
        "gRPC": (
            "backend-1",
            over_grpc(environment.backend_grpc_targets[0], SEND_MESSAGE, message),
            good,
        ),
        "HTTP to analytics": (
            "analytics",
            over_http(environment.analytics_url, "GET", f"/usage/threads/{thread_id}"),
            good,
        ),
        "HTTP to auth": ("auth", over_http(environment.auth_url, "GET", "/users/me"), good),
        "hop": (
            "analytics",
            over_grpc(environment.analytics_grpc_target, RECORD_USAGE, stage.usage_message()),
            hop,
        ),
    }
    asked, send, pairs = sends[way]
    before = await settled(environment)
    code = await send(pairs)
    change = (await settled(environment)).since(before)

    assert "OK" == code
    assert roles == change.roles
    assert not change.refusals
    touched = change.touched(asked)
    assert called == {each.split(" ")[3].rstrip(":") for each in touched if " call to " in each}
    assert bool(called) == any("command " in each for each in touched), touched


async def test_admitted_websocket_is_seen(stage: Stage) -> None:
    """A ticket is taken from Redis; what is well formed and unknown must be looked for, too."""
    before = await settled(stage.environment)
    code = await over_websocket(stage.environment.backend_url, None, f"?ticket={'a' * 43}")
    change = (await look(stage.environment)).since(before)

    assert "4401" == code
    assert ["1 command getdel"] == change.touched("backend-1")
    assert [("backend-1", "websocket", "UNAUTHENTICATED")] == list(change.refusals.elements())
