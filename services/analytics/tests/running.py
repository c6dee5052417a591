"""Analytics as a real process beside a real auth, and whoever calls it, for tests."""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from joserfc.jwk import OKPKey

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
from tools.processes import ProcessSpecification, Supervisor, reserve_port

LIMIT_SECONDS = 10.0
_OPERATOR_SECRET = "operator-" + "0" * 32
_WORKLOAD_SECRETS = {"backend": "backend-" + "1" * 32, "analytics": "analytics-" + "2" * 32}
_PASSWORD = "correct horse battery"


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A user with a token."""

    tenant: str
    tenant_id: str
    user_id: str
    access_token: str = field(repr=False)

    @property
    def bearer(self) -> dict[str, str]:
        """The header that authenticates the user."""
        return {"authorization": f"Bearer {self.access_token}"}

    def context(self, scopes: frozenset[Scope], thread: str | None = None) -> UserExecutionContext:
        """What another service derives for a call of this user, two minutes long."""
        now = datetime.now(UTC)
        return UserExecutionContext(
            tenant_id=TenantId(self.tenant_id),
            user_id=UserId(self.user_id),
            thread_id=None if thread is None else ThreadId(thread),
            run_id=None if thread is None else RunId(f"run-of-{thread}"),
            request_id=RequestId(uuid.uuid4().hex),
            parent_request_id=RequestId(uuid.uuid4().hex),
            operation_depth=1,
            scopes=scopes,
            issued_at=now,
            expires_at=now + timedelta(seconds=30),
        )


class Running:
    """The processes, and what an operator, users and the backend do with them."""

    def __init__(self, supervisor: Supervisor, datastores: Datastores) -> None:
        self.supervisor = supervisor
        self.datastores = datastores

    def url(self, name: str = "analytics") -> str:
        """Where a process answers over HTTP."""
        return f"http://127.0.0.1:{self.supervisor[name].ready['http_port']}"

    def grpc_target(self, name: str = "analytics") -> str:
        """Where a process answers over gRPC."""
        return f"127.0.0.1:{self.supervisor[name].ready['grpc_port']}"

    def request(
        self, method: str, path: str, name: str = "analytics", **more: Any
    ) -> httpx.Response:
        """One request to a process."""
        return httpx.request(
            method, self.url(name) + path, timeout=LIMIT_SECONDS, trust_env=False, **more
        )

    def get(self, path: str, user: LoggedIn) -> dict[str, Any]:
        """What analytics answers a user."""
        answer = self.request("GET", path, headers=user.bearer)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def new_tenant(self) -> LoggedIn:
        """A new tenant's administrator, logged in."""
        name = f"tenant {uuid.uuid4().hex[:8]}"
        answer = self.request(
            "POST",
            "/operator/tenants",
            "auth",
            json={"name": name, "administrator": {"login_name": "root", "password": _PASSWORD}},
            headers={"authorization": f"Bearer {_OPERATOR_SECRET}"},
        )
        assert answer.status_code == 201, answer.text
        return self._log_in(name, "root")

    def new_user(self, administrator: LoggedIn, login_name: str = "anna") -> LoggedIn:
        """A user of the administrator's tenant, logged in."""
        answer = self.request(
            "POST",
            "/users",
            "auth",
            json={"login_name": login_name, "password": _PASSWORD},
            headers=administrator.bearer,
        )
        assert answer.status_code == 201, answer.text
        return self._log_in(administrator.tenant, login_name)

    def _log_in(self, tenant: str, login_name: str) -> LoggedIn:
        answer = self.request(
            "POST",
            "/login",
            "auth",
            json={"tenant": tenant, "login_name": login_name, "password": _PASSWORD},
        )
        assert answer.status_code == 200, answer.text
        body = answer.json()
        return LoggedIn(tenant, body["tenant_id"], body["user_id"], body["access_token"])

    def log_out(self, user: LoggedIn) -> None:
        """Ends the user's session; returns when that is committed."""
        answer = self.request("POST", "/logout", "auth", headers=user.bearer)
        assert answer.status_code == 204, answer.text

    async def transaction_token(
        self, user: LoggedIn, context: UserExecutionContext, audience: str = "analytics"
    ) -> str:
        """What auth gives the backend for one hop of a user."""
        if context.parent_request_id is None:
            raise ContextMalformed("parent_request_id", "a hop has one")
        auth = AuthClient(
            self.grpc_target("auth"), workload="backend", secret=_WORKLOAD_SECRETS["backend"]
        )
        try:
            return (await auth.exchange(user.access_token, context, audience)).value
        finally:
            await auth.close()

    def log_lines(self) -> list[dict[str, Any]]:
        """Every log line of analytics so far; a line that is no JSON fails."""
        lines = self.supervisor["analytics"].log_path.read_text().splitlines()
        return [json.loads(line) for line in lines if line.strip()]


def _program(service: str) -> list[str]:
    """How a service is started: the program that Bazel built, or the module itself."""
    if built := os.environ.get(f"{service.upper()}_PROGRAM"):
        return [str(Path(built).absolute())]
    return [sys.executable, "-m", f"services.{service}.main"]


def _auth_environment(datastores: Datastores) -> dict[str, str]:
    key = OKPKey.generate_key("Ed25519", parameters={"kid": "test-key"}, private=True)
    return {
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "WATERTIGHT_POSTGRES_URL": datastores.postgres.url("auth", "auth_service"),
        "WATERTIGHT_REVOCATIONS_POSTGRES_URL": datastores.postgres.url("auth", "auth_revocations"),
        "WATERTIGHT_SIGNING_KEY": json.dumps(key.as_dict(private=True)),
        "WATERTIGHT_WORKLOAD_SECRETS": json.dumps(_WORKLOAD_SECRETS),
        "WATERTIGHT_OPERATOR_SECRET": _OPERATOR_SECRET,
        "WATERTIGHT_PASSWORD_MEMORY_KIB": "64",
        "WATERTIGHT_PASSWORD_ITERATIONS": "1",
    }


@contextmanager
def running_analytics(datastores: Datastores, redis_url: str) -> Iterator[Running]:
    """Starts auth and analytics, and stops them at the end."""
    # Ports of their own, so that a restarted process is found where it was.
    with Supervisor() as supervisor, reserve_port() as http, reserve_port() as grpc:
        supervisor.start(
            ProcessSpecification(
                name="auth", argv=_program("auth"), env=_auth_environment(datastores)
            )
        )
        running = Running(supervisor, datastores)
        environment = {
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "WATERTIGHT_POSTGRES_URL": datastores.postgres.url("analytics", "analytics_service"),
            "WATERTIGHT_REDIS_URL": redis_url,
            "WATERTIGHT_AUTH_GRPC_TARGET": running.grpc_target("auth"),
            "WATERTIGHT_WORKLOAD_SECRET": _WORKLOAD_SECRETS["analytics"],
            "WATERTIGHT_HTTP_PORT": str(http.port),
            "WATERTIGHT_GRPC_PORT": str(grpc.port),
        }
        supervisor.start(
            ProcessSpecification(name="analytics", argv=_program("analytics"), env=environment)
        )
        yield running
