"""Every operation of the running services, asked by every role for the member's own objects."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from contracts.context import Scope, ThreadId, UserId
from contracts.context.carriers.hop import WORKLOAD_TOKEN_KEY, write_hop
from integration.environment import Environment
from integration.fixtures.principals import Person, Principals
from integration.security.descriptors import Method, methods, plain_message
from integration.security.forgeries import forged
from integration.security.privileges import OPERATIONS, Kind, Role
from integration.security.routes import Route, frames, routes
from integration.security.sending import Pairs, Said, bearer, over_grpc, over_http, over_websocket
from integration.security.stage import RUN, hop_context
from services.runtime.auth_client import AuthClient as Workload
from services.runtime.errors import ServiceError
from services.runtime.workload import make_workload_token

_LOG_OUT: Final = "auth POST /logout"
_NOT_ADMITTED: Final = {"4400": "UNAUTHENTICATED", "4401": "UNAUTHENTICATED"}
"""With what a connection ends whose first frame is no good `authenticate`."""
_PASSWORD: Final = "a-password-of-nobody"  # noqa: S105 -- made for this


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked for: a thread, a run of it where one is named, and a user."""

    thread_id: str
    user_id: str
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Cast:
    """Everybody who asks, and what the member has."""

    environment: Environment
    principals: Principals
    people: Mapping[Role, Person]
    threads: Mapping[Role, ThreadId]
    leaver: UserId
    """A further user of the member's tenant, whose sessions may be ended."""

    @classmethod
    async def gathered(cls, environment: Environment, principals: Principals) -> Cast:
        """Makes two tenants, and everybody in them."""
        member, stranger = await principals.user(), await principals.user()
        people = {
            Role.MEMBER: member,
            Role.NEIGHBOUR: await principals.user(member.tenant),
            Role.ADMINISTRATOR: await principals.administrator(member.tenant),
            Role.STRANGER: stranger,
            Role.FOREIGN_ADMINISTRATOR: await principals.administrator(stranger.tenant),
        }
        threads = {role: await principals.thread(person) for role, person in people.items()}
        leaver = await principals.user(member.tenant)
        return cls(environment, principals, people, threads, leaver.user_id)

    @property
    def existing(self) -> Target:
        """What the member has."""
        return Target(self.threads[Role.MEMBER], self.leaver)

    async def token(self, role: Role, scopes: frozenset[Scope] | None = None) -> str | None:
        """The role's Bearer token, made for other scopes where they are given."""
        if role is Role.OPERATOR:
            return self.environment.credentials.operator_secret
        if role is Role.WORKLOAD:
            return self.workload_token
        if role is Role.ANONYMOUS:
            return None
        token = self.people[role].token
        if scopes is None:
            return token
        key = self.environment.credentials.signing_key
        return forged(token, key, scope=" ".join(sorted(scopes)))

    @property
    def workload_token(self) -> str:
        """The backend's, as itself."""
        secret = self.environment.credentials.workload_secrets["backend"]
        return make_workload_token("backend", secret, datetime.now(UTC))

    async def fresh_token(self, role: Role) -> str | None:
        """Of a log-in of its own, which may be ended."""
        if role not in self.people:
            return await self.token(role)
        person = self.people[role]
        again = await self.principals.log_in(person.tenant, person.login_name, person.password)
        return again.token

    async def hop(self, role: Role, thread_id: str, *scopes: Scope) -> Pairs:
        """What the backend sends with a call for that user in a thread.

        Raises:
            ServiceError: auth gives no token for that.
        """
        person, environment = self.people[role], self.environment
        context = hop_context(person.session, ThreadId(thread_id), *scopes)
        secret = environment.credentials.workload_secrets["backend"]
        workload = Workload(environment.auth_grpc_target, workload="backend", secret=secret)
        try:
            token = await workload.exchange(person.token, context, "analytics")
        finally:
            await workload.close()
        return write_hop(context, token.value)


Ask = Callable[[Role, str | None, Target], Awaitable[Said]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One route, method or frame; `ask` sends it for a role with a Bearer token."""

    name: str
    process: str
    ask: Ask

    async def asked_by(self, cast: Cast, role: Role, target: Target) -> Said:
        """The answer to a role."""
        token = await (cast.fresh_token(role) if self.name == _LOG_OUT else cast.token(role))
        return await self.ask(role, token, target)


async def operations(cast: Cast) -> list[Operation]:
    """All that the services declare at this moment: OpenAPI, gRPC reflection, frames."""
    environment = cast.environment
    found = [_of_route(route) for route in await routes(environment)]
    for service, target in (
        ("auth", environment.auth_grpc_target),
        ("analytics", environment.analytics_grpc_target),
        ("backend", environment.backend_grpc_targets[0]),
    ):
        declared = await asyncio.to_thread(methods, target)
        found += [_of_method(cast, service, target, method) for method in declared]
    found += [_of_frame(cast, kind) for kind in await frames(environment)]
    return found


def _process(service: str) -> str:
    return "backend-1" if service == "backend" else service


def _of_route(route: Route) -> Operation:
    async def ask(role: Role, token: str | None, target: Target) -> Said:
        del role
        body = None if route.body is None else route.schemas.good(route.body)
        if isinstance(body, dict):
            _make_new(body)
            if target.run_id is not None:
                body["run_id"] = target.run_id
        path = route.filled_path(thread_id=target.thread_id, user_id=target.user_id)
        send = over_http(route.url, route.method.upper(), path, body)
        return await send([] if token is None else [bearer(token)])

    return Operation(f"{route.service} {route}", _process(route.service), ask)


def _make_new(body: dict[str, Any]) -> None:
    """Names that are taken at once are made up anew, in whatever depth."""
    for name, value in body.items():
        if isinstance(value, dict):
            _make_new(value)
        elif name in {"login_name", "name"}:
            body[name] = f"new-{secrets.token_hex(6)}"
        elif name == "password":
            body[name] = _PASSWORD


def _of_method(cast: Cast, service: str, target_address: str, method: Method) -> Operation:
    name = f"{service} {method.path}"
    kind = OPERATIONS[name][0] if name in OPERATIONS else Kind.OWN
    streaming = method.descriptor.client_streaming or method.descriptor.server_streaming

    async def ask(role: Role, token: str | None, target: Target) -> Said:
        message = b"" if kind in {Kind.PUBLIC, Kind.NOBODYS} else _message(cast, method, target)
        send = over_grpc(target_address, method.path, message, streaming=streaming)
        if kind in {Kind.HOP_THREAD, Kind.HOP_TENANT} and role in cast.people:
            tenant = (Scope.TENANT_USAGE,) if kind is Kind.HOP_TENANT else ()
            try:
                # In a thread of the caller's own: what is asked for stands in the message.
                return await send(await cast.hop(role, cast.threads[role], *tenant))
            except ServiceError as error:
                return Said(error.code.name, error.message)
        if role is Role.WORKLOAD:
            return await send([(WORKLOAD_TOKEN_KEY, cast.workload_token)])
        return await send([] if token is None else [bearer(token)])

    return Operation(name, _process(service), ask)


def _message(cast: Cast, method: Method, target: Target) -> bytes:
    message = plain_message(method.descriptor.input_type)
    fields = {field.name for field in method.descriptor.input_type.fields}
    if "event" in fields:
        message.event.thread_id, message.event.run_id = target.thread_id, RUN
        message.event.usage_id = secrets.token_hex(8)
        message.event.occurred_at.FromDatetime(datetime.now(UTC))
    if "subject_token" in fields:
        message.subject_token = cast.people[Role.MEMBER].token
        message.audience = "analytics"
    if "thread_id" in fields:
        message.thread_id = target.thread_id
    if "run_id" in fields:
        message.ClearField("run_id")
        if target.run_id is not None:
            message.run_id = target.run_id
    encoded: bytes = message.SerializeToString()
    return encoded


def _of_frame(cast: Cast, kind: str) -> Operation:
    url = cast.environment.backend_url

    async def ask(role: Role, token: str | None, target: Target) -> Said:
        del role
        first = json.dumps({"type": "authenticate", "token": token or ""})
        said = await over_websocket(url, (first, *_frames(kind, target)))
        if said.code in _NOT_ADMITTED:
            return Said(_NOT_ADMITTED[said.code], said.text)
        return said if said.code.isupper() else Said("OK", said.text)

    return Operation(f"backend frame {kind}", "backend-1", ask)


def _frames(kind: str, target: Target) -> list[str]:
    thread = {"thread_id": target.thread_id}
    subscribe = {"type": "subscribe", **thread}
    run = {} if target.run_id is None else {"run_id": target.run_id}
    sent: Mapping[str, list[Mapping[str, str]]] = {
        "authenticate": [],
        "ping": [{"type": "ping"}],
        "subscribe": [subscribe],
        "unsubscribe": [subscribe, {"type": "unsubscribe", **thread}],
        "agent_request": [{"type": "agent_request", **thread, **run, "message": "hello"}],
    }
    return [json.dumps(frame) for frame in sent.get(kind, [{"type": kind}])]
