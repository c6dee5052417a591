"""Whoever sends bad input: an operator, an administrator and a member, by real log-in."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from contracts.context import ThreadId
from integration.clients.auth import AuthClient
from integration.clients.backend import BackendClient
from integration.environment import Environment


@dataclass(frozen=True, slots=True)
class Person:
    """A log-in that can be opened again and again."""

    tenant: str
    login_name: str
    password: str


@dataclass(frozen=True, slots=True)
class People:
    """A tenant of its own, and a thread of the member's."""

    administrator: Person
    member: Person
    thread_id: ThreadId


async def token_of(environment: Environment, person: Person) -> str:
    """A fresh access token."""
    async with AuthClient(environment.auth_url) as auth:
        session = await auth.log_in(person.tenant, person.login_name, person.password)
    return session.access_token


async def settle_in(environment: Environment) -> People:
    """Makes everybody, in a tenant that nobody else uses."""
    tenant = f"tenant-{secrets.token_hex(4)}"
    administrator = Person(tenant, "root", secrets.token_urlsafe(12))
    member = Person(tenant, "ann", secrets.token_urlsafe(12))
    async with AuthClient(environment.auth_url) as auth:
        await auth.create_tenant(
            environment.credentials.operator_secret,
            tenant,
            login_name=administrator.login_name,
            password=administrator.password,
        )
        head = await auth.log_in(tenant, administrator.login_name, administrator.password)
        await auth.create_user(
            head.access_token, login_name=member.login_name, password=member.password
        )
    token = await token_of(environment, member)
    async with BackendClient(environment.backend_url, token=token) as backend:
        thread = await backend.create_thread("mine")
    return People(administrator, member, thread.thread_id)
