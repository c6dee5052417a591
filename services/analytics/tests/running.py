"""Analytics as a real process beside a real auth, and whoever calls it, for tests."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from contracts.context import (
    ContextMalformed,
    RequestId,
    RunId,
    Scope,
    TenantId,
    ThreadId,
    UserExecutionContext,
    UserId,
)
from services.runtime.auth_client import AuthClient
from tools.datastores import Datastores
from tools.local.service import Service
from tools.local.tests.running import LoggedIn, RunningServices, running_services

_SERVICES = Path(__file__).parents[2]


def context_of(
    user: LoggedIn, scopes: frozenset[Scope], thread: str | None = None
) -> UserExecutionContext:
    """What another service derives for a call of a user, half a minute long."""
    now = datetime.now(UTC)
    return UserExecutionContext(
        tenant_id=TenantId(user.tenant_id),
        user_id=UserId(user.user_id),
        thread_id=None if thread is None else ThreadId(thread),
        run_id=None if thread is None else RunId(f"run-of-{thread}"),
        request_id=RequestId(uuid.uuid4().hex),
        parent_request_id=RequestId(uuid.uuid4().hex),
        operation_depth=1,
        scopes=scopes,
        issued_at=now,
        expires_at=now + timedelta(seconds=30),
    )


class Running(RunningServices):
    """The processes, and what users and the backend do with them."""

    def get(self, path: str, user: LoggedIn) -> dict[str, Any]:
        """What analytics answers a user."""
        answer = self.request("GET", path, headers=user.bearer)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def transaction_token(
        self, user: LoggedIn, context: UserExecutionContext, audience: str = "analytics"
    ) -> str:
        """What auth gives the backend for one hop of a user."""
        if context.parent_request_id is None:
            raise ContextMalformed("parent_request_id", "a hop has one")
        auth = AuthClient(
            self.grpc_target("auth"),
            workload="backend",
            secret=self.system.credentials.workload_secrets["backend"],
        )
        try:
            return (await auth.exchange(user.access_token, context, audience)).value
        finally:
            await auth.close()


@contextmanager
def running_analytics(datastores: Datastores) -> Iterator[Running]:
    """Starts auth and analytics, and stops them at the end."""
    processes = {name: Service.read(_SERVICES / name) for name in ("auth", "analytics")}
    with running_services(Running, datastores, processes, front="analytics") as running:
        yield running
