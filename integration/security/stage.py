"""Whoever sends bad input, and the credentials with which each may speak."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from contracts.context import (
    RequestId,
    RunId,
    Scope,
    TenantId,
    ThreadId,
    UserExecutionContext,
    UserId,
)
from integration.clients.results import Session
from integration.environment import Environment
from integration.fixtures.principals import Person, Principals
from integration.security.forgeries import forged
from integration.security.inputs import MARKER
from services.runtime.auth_client import AuthClient as Workload
from watertight.analytics.v1.analytics_pb2 import RecordUsageRequest

HOUR: Final = timedelta(hours=1)
RUN: Final = RunId("run-1")


def hop_context(whose: Session, thread_id: ThreadId, *scopes: Scope) -> UserExecutionContext:
    """A context in a thread, for 45 s: less than its token. Without scopes, for usage."""
    now = datetime.now(UTC)
    return UserExecutionContext(
        tenant_id=TenantId(whose.tenant_id),
        user_id=UserId(whose.user_id),
        thread_id=thread_id,
        run_id=RUN,
        request_id=RequestId("request-1"),
        operation_depth=0,
        scopes=frozenset(scopes or {Scope.USAGE_READ, Scope.USAGE_WRITE}),
        issued_at=now,
        expires_at=now + timedelta(seconds=45),
    )


@dataclass(frozen=True, slots=True)
class People:
    """A tenant that nobody else uses: its administrator, a member, and the member's thread."""

    principals: Principals
    administrator: Person
    member: Person
    thread_id: ThreadId

    @classmethod
    async def settled_in(cls, principals: Principals) -> Self:
        """Makes everybody."""
        member = await principals.user()
        administrator = await principals.administrator(member.tenant)
        return cls(principals, administrator, member, await principals.thread(member))

    async def token_of(self, person: Person) -> str:
        """A fresh access token: a suite may last longer than one."""
        return (await self.session_of(person)).access_token

    async def session_of(self, person: Person) -> Session:
        """A further session of somebody."""
        again = await self.principals.log_in(person.tenant, person.login_name, person.password)
        return again.session


@dataclass(frozen=True, slots=True)
class Stage:
    """Two people of two tenants, the thread of the first, and how to speak for each."""

    environment: Environment
    people: People
    mine: Session
    theirs: Session

    @classmethod
    async def set_for(cls, environment: Environment, mine: People, theirs: People) -> Self:
        """Logs in the members of both."""
        sessions = [await each.session_of(each.member) for each in (mine, theirs)]
        return cls(environment, mine, *sessions)

    @property
    def thread_id(self) -> ThreadId:
        """The first one's thread."""
        return self.people.thread_id

    @property
    def secrets(self) -> frozenset[str]:
        """What no refusal may say: who anybody is, and by what she is known."""
        sessions = (self.mine, self.theirs)
        whose = {text for each in sessions for text in (each.tenant_id, each.user_id)}
        tokens = {text for each in sessions for text in (each.access_token, each.refresh_token)}
        return frozenset({*whose, *tokens, self.thread_id, MARKER})

    @property
    def key(self) -> str:
        """Auth's private key."""
        return self.environment.credentials.signing_key

    @property
    def expired(self) -> str:
        """My access token as it was before it ended."""
        past = int((datetime.now(UTC) - HOUR).timestamp())
        return forged(self.mine.access_token, self.key, iat=past - 300, exp=past)

    def context(self, whose: Session, *scopes: Scope) -> UserExecutionContext:
        """A context in my thread, or one of that name."""
        return hop_context(whose, self.thread_id, *scopes)

    async def exchanged(
        self, whose: Session, context: UserExecutionContext, audience: str = "analytics"
    ) -> str:
        """A real transaction token, from auth."""
        secret = self.environment.credentials.workload_secrets["backend"]
        workload = Workload(self.environment.auth_grpc_target, workload="backend", secret=secret)
        try:
            return (await workload.exchange(whose.access_token, context, audience)).value
        finally:
            await workload.close()

    def usage_message(self) -> bytes:
        """A usage event of my thread, complete."""
        request = RecordUsageRequest()
        request.event.usage_id = secrets.token_hex(8)
        request.event.thread_id = self.thread_id
        request.event.run_id = RUN
        request.event.occurred_at.FromDatetime(datetime.now(UTC))
        return request.SerializeToString()
