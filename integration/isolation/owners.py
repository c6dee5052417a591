"""Four owners of the same kinds of rows, each of whom the others are kept from in another way."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, fields

from contracts.context import DataScope, ThreadId
from integration.clients.auth import AuthClient
from integration.clients.backend import BackendClient
from integration.environment import Environment
from integration.fixtures.principals import Person, Principals
from tools.processes.waiting import until


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """One thread of one user, and the word that its title and its message say, and no other's."""

    person: Person
    thread_id: ThreadId
    word: str

    @property
    def scope(self) -> DataScope:
        """The scope of the thread."""
        return DataScope.thread(self.person.tenant_id, self.person.user_id, self.thread_id)

    @property
    def user_scope(self) -> DataScope:
        """The scope of its user."""
        return DataScope.user(self.person.tenant_id, self.person.user_id)

    @property
    def columns(self) -> dict[str, str]:
        """What names it in every table."""
        return {
            "tenant_id": self.person.tenant_id,
            "user_id": self.person.user_id,
            "thread_id": self.thread_id,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Owners:
    """One owner, and three others by what they share with her: a user, a tenant, nothing."""

    owner: Owner
    same_user: Owner
    same_tenant: Owner
    stranger: Owner

    @property
    def everybody(self) -> tuple[Owner, ...]:
        """All four."""
        return tuple(getattr(self, field.name) for field in fields(self))

    @property
    def others(self) -> tuple[Owner, ...]:
        """All but the owner."""
        return self.everybody[1:]

    def foreign_scopes(self) -> dict[str, DataScope]:
        """Every kind of scope under which nothing of the owner's may be met, by a name."""
        tenant_id = self.stranger.person.tenant_id
        return {
            "thread of the same user": self.same_user.scope,
            "thread of the same tenant": self.same_tenant.scope,
            "thread of another tenant": self.stranger.scope,
            "user of the same tenant": self.same_tenant.user_scope,
            "user of another tenant": self.stranger.user_scope,
            "another tenant": DataScope.tenant(tenant_id),
            "system of another tenant": DataScope.system(tenant_id),
            "log-in by a word of hers": DataScope.login(self.owner.word),
        }


def reply(owner: Owner) -> str:
    """What the agent has said to her."""
    return f"You said: {owner.word}"


async def settle_in(environment: Environment, principals: Principals) -> Owners:
    """Makes the owners through the services' own interfaces, until every service has their rows."""
    first = await principals.user()
    second = await principals.user(tenant=first.tenant)
    third = await principals.user()
    owners = Owners(
        owner=await _settled(environment, first),
        same_user=await _settled(environment, first),
        same_tenant=await _settled(environment, second),
        stranger=await _settled(environment, third),
    )
    for owner in owners.everybody:
        person = owner.person
        again = await principals.log_in(person.tenant, person.login_name, person.password)
        async with AuthClient(environment.auth_url) as auth:
            await auth.refresh(again.session.refresh_token)
            await auth.log_out(again.token)
    await asyncio.to_thread(_fill_outbox, environment, owners.everybody)
    await until(lambda: _usage_rows(environment, owners) == len(owners.everybody))
    return owners


async def _settled(environment: Environment, person: Person) -> Owner:
    word = f"word{secrets.token_hex(8)}"
    async with BackendClient(environment.backend_url, token=person.token) as backend:
        thread_id = (await backend.create_thread(word)).thread_id
        await backend.send_message(thread_id, word)
    return Owner(person=person, thread_id=thread_id, word=word)


def _fill_outbox(environment: Environment, owners: tuple[Owner, ...]) -> None:
    """Leaves a row for each in the outbox, which the relay would else have emptied at any time."""
    for owner in owners:
        environment.postgres.admin.fetch(
            "insert into outbox (tenant_id, user_id, thread_id, usage_id, entry, due_at)"
            " values ($1, $2, $3, $4, '', now() + interval '1 day')",
            *owner.columns.values(),
            owner.word,
            database="backend",
        )


def _usage_rows(environment: Environment, owners: Owners) -> int:
    return len(
        environment.postgres.admin.fetch(
            "select from usage_events where thread_id = any($1::text[])",
            [owner.thread_id for owner in owners.everybody],
            database="analytics",
        )
    )
