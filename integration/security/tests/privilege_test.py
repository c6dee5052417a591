"""Every route, method and frame, for every role, by the table of `privileges`."""

import asyncio
import dataclasses
import json
import re
import secrets
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable, Sequence

import pytest

from contracts.context import MEMBER_SCOPES, RunId, Scope
from contracts.context.carriers.hop import WORKLOAD_TOKEN_KEY
from integration.clients.auth import AuthClient
from integration.clients.backend import BackendClient
from integration.environment import Environment
from integration.fixtures.principals import Principals
from integration.security.attempts import Cast, Operation, Target, operations
from integration.security.effects import Effects, look, settled
from integration.security.privileges import OPERATIONS, OTHER_USERS, OUTCOMES, Kind, Role
from integration.security.refusals_of_hops import EXCHANGE_TOKEN, RECORD_USAGE
from integration.security.sending import Said, bearer, over_grpc, over_http, over_websocket
from integration.security.stage import RUN
from watertight.analytics.v1.analytics_pb2 import RecordUsageRequest
from watertight.auth.v1.auth_pb2 import ExchangeTokenRequest, ExchangeTokenResponse

pytestmark = [
    pytest.mark.integration,
    pytest.mark.real_services,
    pytest.mark.usefixtures("unharmed"),
]

ABOUT_AN_OBJECT = {Kind.THREAD, Kind.USAGE, Kind.MEMBERSHIP}
# What two equal answers may differ in: identifiers of 32 digits, tokens, tickets and times.
_VARYING = re.compile(
    r"[0-9a-f]{32}|[\w-]{43}|\d{4}-\d\d-\d\dT[\d:.]+|\w{3}, \d\d \w{3} \d{4} [\d:]+|[0-9a-f]{16}"
)

Ask = Callable[[], Awaitable[Said]]


@pytest.fixture(scope="session")
def cast(environment: Environment, principals: Principals) -> Cast:
    """Everybody who asks, once every process has heard who logged out: none serves before."""

    async def gathered() -> Cast:
        await settled(environment)
        return await Cast.gathered(environment, principals)

    return asyncio.run(gathered())


@pytest.fixture
async def declared(cast: Cast) -> list[Operation]:
    """What the services declare."""
    return await operations(cast)


def nobodys() -> Target:
    """What exists nowhere, and looks as if it did."""
    return Target(secrets.token_hex(16), secrets.token_hex(16))


async def test_every_operation_is_in_the_table(declared: list[Operation]) -> None:
    """What the services declare and what the table knows are the same."""
    assert sorted(OPERATIONS) == sorted(operation.name for operation in declared)


@pytest.mark.parametrize("role", Role, ids=lambda role: role.name.lower())
async def test_role_gets_what_the_table_says(
    cast: Cast, declared: list[Operation], role: Role
) -> None:
    """Every operation, about the member's own thread, or a user of her tenant."""
    known = [operation for operation in declared if operation.name in OPERATIONS]
    expected = {each.name: OUTCOMES[OPERATIONS[each.name][0]][role] for each in known}
    found = {each.name: (await each.asked_by(cast, role, cast.existing)).code for each in known}

    assert expected == found


async def differences(environment: Environment, what: str, process: str, *asked: Ask) -> list[str]:
    """How two answers differ, in all that a caller sees, and in all that the system did.

    Whose effects differ is asked again after the system has come to rest: a connection that ends
    has effects after its last answer.
    """
    said, done = await _differences(environment, process, look, asked)
    if done and not said:
        await settled(environment)
        said, done = await _differences(environment, process, settled, asked)
    return [f"{what}: {each}" for each in (*said, *done)]


async def _differences(
    environment: Environment,
    process: str,
    observe: Callable[[Environment], Awaitable[Effects]],
    asked: Sequence[Ask],
) -> tuple[list[str], list[str]]:
    """Of what was said, and of what was done."""
    answers, effects = [], []
    before = await observe(environment)
    for ask in asked:
        said = await ask()
        after = await observe(environment)
        change = after.since(before)
        before = after
        answers.append((said.code, _VARYING.sub("…", said.text)))
        effects.append((change.touched(process), change.refusals))

    def unlike(pair: Sequence[Sequence[object]]) -> list[str]:
        return [f"{a} but {b}" for a, b in zip(*pair, strict=True) if a != b]

    return unlike(answers), unlike(effects)


@pytest.mark.parametrize("role", OTHER_USERS, ids=lambda role: role.name.lower())
async def test_what_is_anothers_is_as_what_is_nobodys(
    cast: Cast, declared: list[Operation], role: Role
) -> None:
    """Same status, headers, body and effects, whether the object exists elsewhere or nowhere."""
    await settled(cast.environment)
    found, tried = [], 0
    for each in declared:
        kind, _ = OPERATIONS.get(each.name, (None, None))
        if kind not in ABOUT_AN_OBJECT or (role is Role.ADMINISTRATOR and kind is Kind.MEMBERSHIP):
            continue
        tried += 1
        found += await differences(
            cast.environment,
            each.name,
            each.process,
            lambda each=each: each.asked_by(cast, role, cast.existing),  # type: ignore[misc]
            lambda each=each: each.asked_by(cast, role, nobodys()),  # type: ignore[misc]
        )

    assert [] == found
    assert tried >= 14


async def test_run_of_another_thread_is_as_nobodys(cast: Cast, declared: list[Operation]) -> None:
    """A run of the member's other thread, of a neighbour's, and none at all: all not found."""
    environment, other = cast.environment, await cast.principals.thread(cast.people[Role.MEMBER])
    runs: list[RunId] = []
    for role, thread in (
        (Role.MEMBER, other),
        (Role.NEIGHBOUR, cast.threads[Role.NEIGHBOUR]),
        (Role.STRANGER, cast.threads[Role.STRANGER]),
    ):
        token = cast.people[role].token
        async with BackendClient(environment.backend_url, token=token) as backend:
            runs.append((await backend.send_message(thread, "hello")).message.run_id)
    found, tried = [], 0
    await settled(environment)
    for each in declared:
        if not each.name.endswith(("POST /threads/{thread_id}/messages", "SendMessage", "request")):
            continue
        # A connection's end is waited for: one run of another's is enough for a frame.
        for run in runs[:1] if " frame " in each.name else runs:
            tried += 1
            targets = [
                dataclasses.replace(cast.existing, run_id=run_id)
                for run_id in (run, secrets.token_hex(16))
            ]
            asks = [
                lambda each=each, target=target: each.asked_by(cast, Role.MEMBER, target)
                for target in targets
            ]
            assert "NOT_FOUND" == (await asks[0]()).code
            found += await differences(environment, each.name, each.process, *asks)

    assert [] == found
    assert 7 == tried


async def test_names_and_passwords_tell_of_no_other(cast: Cast) -> None:
    """Names of another tenant's users are free, and a wrong log-in does not tell who exists."""
    environment, url = cast.environment, cast.environment.auth_url
    token = cast.people[Role.ADMINISTRATOR].token
    tenant = cast.people[Role.MEMBER].tenant

    def make_user(name: str) -> Ask:
        body = {"login_name": name, "password": secrets.token_hex(8)}
        return lambda: over_http(url, "POST", "/users", body)([bearer(token)])

    def log_in(name: str) -> Ask:
        body = {"tenant": tenant, "login_name": name, "password": secrets.token_hex(8)}
        return lambda: over_http(url, "POST", "/login", body)([])

    elsewhere = cast.people[Role.STRANGER].login_name
    here = cast.people[Role.MEMBER].login_name
    await settled(environment)
    found = await differences(
        environment, "a name", "auth", make_user(elsewhere), make_user(f"x{elsewhere[1:]}9")
    )
    found += await differences(
        environment, "a log-in", "auth", log_in(here), log_in(f"nobody-{secrets.token_hex(4)}")
    )

    assert [] == found


async def test_usage_of_another_is_not_met(cast: Cast) -> None:
    """An identifier of usage that another user has is as free as one that nobody has."""
    environment = cast.environment
    thread = cast.threads[Role.NEIGHBOUR]

    async def record(role: Role, usage_id: str) -> Said:
        request = RecordUsageRequest()
        request.event.usage_id = usage_id
        request.event.thread_id, request.event.run_id = thread, RUN
        request.event.occurred_at.FromSeconds(1_700_000_000)
        message = request.SerializeToString()
        send = over_grpc(environment.analytics_grpc_target, RECORD_USAGE, message)
        return await send(await cast.hop(role, thread))

    taken = secrets.token_hex(16)
    await record(Role.MEMBER, taken)
    await settled(environment)
    found = await differences(
        environment,
        "usage",
        "analytics",
        lambda: record(Role.NEIGHBOUR, taken),
        lambda: record(Role.NEIGHBOUR, secrets.token_hex(16)),
    )

    assert [] == found


async def test_edge_asks_for_just_the_declared_scopes(
    cast: Cast, declared: list[Operation]
) -> None:
    """Without one of its scopes an operation is refused; with them alone it is not."""
    faults = []
    for each in declared:
        kind, scopes = OPERATIONS.get(each.name, (None, frozenset()))
        if not scopes:
            continue
        administrative = kind in {Kind.TENANT, Kind.MEMBERSHIP}
        role = Role.ADMINISTRATOR if administrative else Role.MEMBER
        for scope in scopes:
            without = await cast.token(role, frozenset(Scope) - {scope})
            if (said := await each.ask(role, without, cast.existing)).code != "PERMISSION_DENIED":
                faults.append(f"{each.name} without {scope}: {said.code}")
        alone = await cast.token(role, scopes)
        if (said := await each.ask(role, alone, cast.existing)).code != "OK":
            faults.append(f"{each.name} with {scopes} alone: {said.code} {said.text}")

    assert [] == faults


def scopes_of(token: str) -> set[str]:
    """What a token says that it may do."""
    payload = token.split(".")[1]
    return set(json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["scope"].split())


async def test_refresh_gives_the_same_scopes(cast: Cast) -> None:
    """A member stays a member, however often she refreshes, and an administrator one."""
    async with AuthClient(cast.environment.auth_url) as auth:
        found = []
        for role in (Role.MEMBER, Role.ADMINISTRATOR):
            person = cast.people[role]
            session = await auth.log_in(person.tenant, person.login_name, person.password)
            for _ in range(3):
                found.append(scopes_of(session.access_token))
                session = await auth.refresh(session.refresh_token)

    assert [set(MEMBER_SCOPES)] * 3 + [set(Scope)] * 3 == found


async def test_exchange_gives_no_scope_that_the_user_lacks(cast: Cast) -> None:
    """For each scope and audience: what the user has, just that, or a refusal."""
    environment = cast.environment
    faults = []
    for role, held in ((Role.MEMBER, MEMBER_SCOPES), (Role.ADMINISTRATOR, frozenset(Scope))):
        for audience in ("analytics", "backend"):
            for scopes in [{scope} for scope in Scope] + [set(Scope), set(MEMBER_SCOPES), set()]:
                asked = ExchangeTokenRequest(
                    subject_token=cast.people[role].token,
                    audience=audience,
                    scopes=sorted(scopes),
                    transaction_id="request-1",
                )
                answer = await exchange(environment, cast, asked)
                expected = scopes if scopes <= held else "PERMISSION_DENIED"
                if answer != expected:
                    faults.append(f"{role}, {audience}, {sorted(scopes)}: {answer}")

    assert [] == faults


async def exchange(
    environment: Environment, cast: Cast, asked: ExchangeTokenRequest
) -> set[str] | str:
    """The scopes of the transaction token, or why there is none."""
    send = over_grpc(environment.auth_grpc_target, EXCHANGE_TOKEN, asked.SerializeToString())
    said = await send([(WORKLOAD_TOKEN_KEY, cast.workload_token)])
    if said.code != "OK":
        return said.code
    start = said.text.index("]") + 2  # the metadata stand before the message
    response = ExchangeTokenResponse.FromString(said.text[start:].encode("latin-1"))
    return scopes_of(response.transaction_token)


async def test_ticket_admits_to_no_more_than_its_token(cast: Cast) -> None:
    """A ticket that was got with leave to read alone admits to reading alone."""
    environment = cast.environment
    token = await cast.token(Role.MEMBER, frozenset({Scope.THREADS_READ}))
    assert token is not None
    async with BackendClient(environment.backend_url, token=token) as backend:
        tickets = [(await backend.websocket_ticket()).ticket for _ in range(2)]
    thread = {"thread_id": cast.threads[Role.MEMBER]}
    codes = [
        (await over_websocket(environment.backend_url, [json.dumps(frame)], f"?ticket={each}")).code
        for each, frame in zip(
            tickets,
            (
                {"type": "subscribe", **thread},
                {"type": "agent_request", **thread, "message": "hello"},
            ),
            strict=True,
        )
    ]

    assert ["subscribed", "PERMISSION_DENIED"] == codes
