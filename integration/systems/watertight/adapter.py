"""The adapter: our running system, as the audit engine drives and observes it."""

from __future__ import annotations

import asyncio
import contextlib
import platform
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from redis.asyncio import Redis

from integration.audit import (
    Call,
    Issued,
    Level,
    Observation,
    Outcome,
    Population,
    Principal,
    Scope,
    Subscription,
    SystemDescription,
    User,
)
from integration.environment import Environment
from integration.systems.watertight.connections import SharedConnections
from integration.systems.watertight.description import describe
from integration.systems.watertight.directory import Directory, opened
from integration.systems.watertight.entries import follow_streams, observe_streams
from integration.systems.watertight.keys import observe_keys, observe_published
from integration.systems.watertight.logs import observe_log
from integration.systems.watertight.merging import for_each, merged
from integration.systems.watertight.metrics import Metrics, observe_metrics, spans_ended
from integration.systems.watertight.operations import Operations
from integration.systems.watertight.rows import observe_rows
from integration.systems.watertight.sockets import Sockets
from integration.systems.watertight.spans import observe_spans

_DATABASES: Final = ("auth", "backend", "analytics")
_ADMINISTRATOR: Final = "administrator"
_AT_ONCE: Final = 8


class WatertightAdapter:
    """Drives a running `Environment`; make one with `open_watertight`."""

    def __init__(
        self,
        environment: Environment,
        connections: SharedConnections,
        admin: Redis,
        configuration: Mapping[str, str],
    ) -> None:
        limit_seconds = describe({}).operation_limit_seconds
        self._environment = environment
        self._connections = connections
        self._admin = admin
        self._directory = Directory(connections.auth)
        self._sockets = Sockets(connections, self._directory, limit_seconds)
        self._operations = Operations(connections, self._directory, self._sockets)
        self._metrics = Metrics(connections.processes)
        self._passwords: dict[Scope, str] = {}
        self._administrators: frozenset[Scope] = frozenset()
        self._issue: Callable[[Issued], None] = lambda _: None
        self._description = describe(configuration)

    @property
    def description(self) -> SystemDescription:
        """What our system promises."""
        return self._description

    async def prepare(self, population: Population, issue: Callable[[Issued], None]) -> None:
        """Makes tenants and users by their own interface, and logs every principal in."""
        self._issue = issue
        self._passwords = {user.scope: secrets.token_urlsafe(12) for user in population.users}
        administrators = {
            Scope(user.scope.tenant): user
            for user in population.users
            if user.role == _ADMINISTRATOR
        }
        self._administrators = frozenset(user.scope for user in administrators.values())
        members = [user for user in population.users if user.role != _ADMINISTRATOR]
        heads = [each for each in population.principals if each.role == _ADMINISTRATOR]
        others = [each for each in population.principals if each.role != _ADMINISTRATOR]
        sessions = {Scope(each.scope.tenant): each.name for each in heads}
        await for_each(
            population.tenants,
            lambda scope: self._make(scope, administrators[scope]),
            at_once=_AT_ONCE,
        )
        await for_each(heads, self._log_in, at_once=_AT_ONCE)
        await for_each(
            members,
            lambda user: self._add(user, sessions[Scope(user.scope.tenant)]),
            at_once=_AT_ONCE,
        )
        await for_each(others, self._log_in, at_once=_AT_ONCE)

    async def invoke(self, call: Call) -> Outcome:
        """Sends one operation over its channel."""
        return await self._operations.send(call)

    def subscribe(
        self, subscription: Subscription
    ) -> AbstractAsyncContextManager[AsyncIterator[Observation]]:
        """Opens a WebSocket that listens to one thread."""
        return self._sockets.subscribed(subscription, self._issue)

    @contextlib.asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[Observation]]:
        """Sees everything that is published, every entry of a stream, and every figure."""
        sources = (
            observe_published(self._admin, self._environment.names),
            follow_streams(self._admin, self._environment.names),
            self._metrics.follow(),
        )
        async with merged(*sources) as seen:
            yield seen

    async def rest(self) -> AsyncIterator[Observation]:
        """Everything that rests: rows, keys, entries, logs, figures and spans."""
        for database in _DATABASES:
            dsn = self._environment.postgres.admin.dsn(database)
            async for observation in observe_rows(database, dsn):
                yield observation
        names = self._environment.names
        async for observation in observe_keys(self._admin, names):
            yield observation
        async for observation in observe_streams(self._admin, names):
            yield observation
        administrators = {
            str(user): scope.at(Level.TENANT)
            for scope, user in self._directory.users.items()
            if scope in self._administrators
        }
        environment = self._environment
        datastores = environment.datastore_processes
        for process in (*environment.service_processes.values(), *datastores):
            for observation in observe_log(process.name, process.log_path, administrators):
                yield observation
        scraped = await self._metrics.scrape()
        for observation in observe_metrics(scraped):
            yield observation
        await environment.spans.arrival(spans_ended(scraped))
        for observation in observe_spans(environment.spans.spans):
            yield observation

    async def _make(self, scope: Scope, administrator: User) -> None:
        created = await self._connections.auth.create_tenant(
            self._environment.credentials.operator_secret,
            scope.tenant,
            login_name=administrator.login,
            password=self._passwords[administrator.scope],
        )
        self._directory.tenants[scope] = created.tenant_id
        self._directory.users[administrator.scope] = created.user_id
        self._issue(Issued("tenant", created.tenant_id, scope))
        self._issue(Issued("user", created.user_id, administrator.scope))

    async def _add(self, user: User, administrator: str) -> None:
        created = await self._connections.auth.create_user(
            await self._directory.token(administrator),
            login_name=user.login,
            password=self._passwords[user.scope],
        )
        self._directory.users[user.scope] = created.user_id
        self._issue(Issued("user", created.user_id, user.scope))

    async def _log_in(self, principal: Principal) -> None:
        session = await self._connections.auth.log_in(
            principal.scope.tenant, principal.login, self._passwords[principal.scope]
        )
        self._directory.sessions[principal.name] = opened(session)


@contextlib.asynccontextmanager
async def open_watertight(environment: Environment) -> AsyncIterator[WatertightAdapter]:
    """An adapter of a running environment, with its connections open."""
    limit_seconds = describe({}).operation_limit_seconds
    admin = Redis.from_url(environment.valkey.admin_url)
    try:
        async with SharedConnections(environment, limit_seconds) as connections:
            configuration = await asyncio.to_thread(_configuration, environment)
            yield WatertightAdapter(environment, connections, admin, configuration)
    finally:
        await admin.aclose()


def _configuration(environment: Environment) -> dict[str, str]:
    return {
        "datastores": _datastores(environment),
        "backend replicas": str(len(environment.backend_urls)),
        "python": platform.python_version(),
        "machine": platform.platform(),
    }


def _datastores(environment: Environment) -> str:
    """Which servers, whose they are, and what of them was not looked at."""
    (row,) = environment.postgres.admin.fetch("select current_setting('server_version') as version")
    facts: Any = environment.valkey.admin.info("server")
    name, version = "Redis", facts["redis_version"]
    if "valkey_version" in facts:
        name, version = "Valkey", facts["valkey_version"]
    servers = f"PostgreSQL {str(row['version']).partition(' ')[0]}, {name} {version}"
    if environment.external:
        return f"{servers}, run by somebody else: their own logs were not observed"
    return f"{servers}, started for this audit"
