"""Two people of two tenants, and the credentials with which each may speak."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

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
from integration.security.forgeries import forged
from services.runtime.auth_client import AuthClient as Workload
from watertight.analytics.v1.analytics_pb2 import RecordUsageRequest

HOUR: Final = timedelta(hours=1)
RUN: Final = RunId("run-1")


@dataclass(frozen=True, slots=True)
class Stage:
    """Two people of two tenants, the thread of the first, and how to speak for each."""

    environment: Environment
    mine: Session
    theirs: Session
    thread_id: ThreadId

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
        """A context in my thread, or one of that name, for half a minute."""
        now = datetime.now(UTC)
        return UserExecutionContext(
            tenant_id=TenantId(whose.tenant_id),
            user_id=UserId(whose.user_id),
            thread_id=self.thread_id,
            run_id=RUN,
            request_id=RequestId("request-1"),
            operation_depth=0,
            scopes=frozenset(scopes or {Scope.USAGE_READ, Scope.USAGE_WRITE}),
            issued_at=now,
            expires_at=now + timedelta(seconds=20),
        )

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
