"""Refused contexts touch nothing, on every channel: the table of `refusals`, driven."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from contracts.context.carriers.entry import write_entry
from contracts.context.carriers.hop import write_hop
from integration.environment import Environment
from integration.fixtures.principals import Principals
from integration.security.effects import consumed, heard, look, settled
from integration.security.refusals import Case, Channel, Fault, unfilled
from integration.security.refusals_at_edges import SEND_MESSAGE, over_edges
from integration.security.refusals_of_entries import good_entry, over_stream
from integration.security.refusals_of_hops import RECORD_USAGE, over_hops, over_workloads
from integration.security.refusals_of_websockets import over_first_frames, over_tickets
from integration.security.sending import Pairs, Send, bearer, over_grpc, over_http
from integration.security.stage import People, Stage
from services.runtime.streams import usage_stream
from tools.processes.waiting import wait_until
from watertight.backend.v1.backend_pb2 import SendMessageRequest

pytestmark = [
    pytest.mark.integration,
    pytest.mark.real_services,
    pytest.mark.usefixtures("unharmed"),
]


@pytest.fixture(scope="session")
def others(principals: Principals) -> People:
    """Somebody else's tenant."""
    return asyncio.run(People.settled_in(principals))


@pytest.fixture
async def stage(environment: Environment, people: People, others: People) -> Stage:
    """Both logged in."""
    return await Stage.set_for(environment, people, others)


async def cases_on(stage: Stage, *channels: Channel) -> list[Case]:
    """The whole table, or the cases of these channels."""
    hop = await stage.exchanged(stage.mine, stage.context(stage.mine))
    cases = [
        *over_edges(stage, hop),
        *await over_hops(stage),
        *over_workloads(stage),
        *over_first_frames(stage, hop),
        *over_stream(stage),
    ]
    if not channels or Channel.TICKET in channels:
        cases += await over_tickets(stage)
    return [case for case in cases if not channels or case.channel in channels]


async def faults_of(stage: Stage, cases: Sequence[Case]) -> list[str]:
    """Sends each; gives what was wrong: the code, a quotation, the count, or something touched."""
    faults = []
    before = await settled(stage.environment)
    for case in cases:
        said = await case.send()
        if case.channel is Channel.STREAM:
            after = await consumed(stage.environment, before)
        else:
            after = await look(stage.environment)
        change = after.since(before)
        before = after
        if said.code != case.code:
            faults.append(f"{case.what}: {said.code} instead of {case.code}")
        faults += [f"{case.what}: says {word:.40}" for word in stage.secrets if word in said.text]
        counted = [process for process, _, _ in change.refusals.elements()]
        counted += ["analytics" for _ in change.entries.elements()]
        if counted != [case.asked]:
            faults.append(f"{case.what}: counted as {change.refusals} {change.entries}")
        touched = tuple(change.touched(case.asked))
        if touched != case.leaves:
            faults.append(f"{case.what}: left {touched} instead of {case.leaves}")
    # What would have come late, such as by the outbox and the stream, has come by now.
    late = (await heard(stage.environment, before)).since(before)
    faults += [f"late: {each}" for each in late.touched()]
    faults += [f"late: counted {each}" for each in (*late.refusals, *late.entries)]
    return faults


@pytest.mark.parametrize("channel", Channel, ids=lambda channel: channel.name.lower())
async def test_refusals_touch_nothing(stage: Stage, channel: Channel) -> None:
    """Each fault gets its agreed code, is counted once, quotes nobody, and nothing else happens."""
    cases = await cases_on(stage, channel)

    assert [] == await faults_of(stage, cases)
    assert cases


async def test_table_is_complete(stage: Stage) -> None:
    """On every channel every fault is tried, or it is said why it cannot occur there."""
    cases = await cases_on(stage)

    assert [] == unfilled(cases)
    assert ["stream entry: expired is not tried"] == unfilled(
        case for case in cases if (case.channel, case.fault) != (Channel.STREAM, Fault.EXPIRED)
    )


async def test_bad_entries_hold_up_no_good_one(stage: Stage) -> None:
    """After the dead letters the next good entry is stored, under its own context."""
    stream = usage_stream(stage.environment.names.redis_namespace)
    (bad, *_) = await cases_on(stage, Channel.STREAM)
    entry = good_entry(stage, stage.context(stage.mine))
    await bad.send()
    admin: Any = stage.environment.valkey.admin
    await asyncio.to_thread(admin.xadd, stream, write_entry(entry))
    rows: list[dict[str, object]] = []

    def stored() -> bool:
        rows[:] = stage.environment.postgres.admin.fetch(
            "SELECT tenant_id, user_id FROM usage_events WHERE usage_id = $1",
            entry.event.usage_id,
            database="analytics",
        )
        return bool(rows)

    await asyncio.to_thread(wait_until, stored)

    assert [{"tenant_id": stage.mine.tenant_id, "user_id": stage.mine.user_id}] == rows


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
    said = await send(pairs)
    change = (await settled(environment)).since(before)

    assert "OK" == said.code
    assert roles == change.roles
    assert not change.refusals
    touched = change.touched(asked)
    assert called == {each.split(" ")[3].rstrip(":") for each in touched if " call to " in each}
    assert bool(called) == any("command " in each for each in touched), touched
