"""The auth service as a real process on a real database, for tests."""

from __future__ import annotations

import json
import os
import shlex
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from joserfc.jwk import OKPKey

from tools.datastores import PostgresServer
from tools.processes import ProcessSpecification, SupervisedProcess, Supervisor

OPERATOR_SECRET = "operator-" + "0" * 32
WORKLOAD_SECRETS = {"backend": "backend-" + "1" * 32, "analytics": "analytics-" + "2" * 32}
PASSWORD = "correct horse battery"


def program() -> list[str]:
    """How the service is started: the program that Bazel built, or the module itself."""
    if built := os.environ.get("AUTH_PROGRAM"):
        return [str(Path(built).absolute())]
    return [sys.executable, "-m", "services.auth.main"]


def environment(postgres: PostgresServer, database: str = "auth") -> dict[str, str]:
    """All that the service reads, with short lives for cheap passwords."""
    key = OKPKey.generate_key("Ed25519", parameters={"kid": "test-key"}, private=True)
    return {
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "WATERTIGHT_POSTGRES_URL": postgres.url(database, "auth_service"),
        "WATERTIGHT_REVOCATIONS_POSTGRES_URL": postgres.url(database, "auth_revocations"),
        "WATERTIGHT_SIGNING_KEY": json.dumps(key.as_dict(private=True)),
        "WATERTIGHT_WORKLOAD_SECRETS": json.dumps(WORKLOAD_SECRETS),
        "WATERTIGHT_OPERATOR_SECRET": OPERATOR_SECRET,
        "WATERTIGHT_PASSWORD_MEMORY_KIB": "64",
        "WATERTIGHT_PASSWORD_ITERATIONS": "1",
        "WATERTIGHT_LOG_LEVEL": "debug",
    }


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A user with tokens."""

    tenant: str
    tenant_id: str
    user_id: str
    login_name: str
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)

    @property
    def bearer(self) -> dict[str, str]:
        """The header that authenticates the user."""
        return {"authorization": f"Bearer {self.access_token}"}


class RunningAuth:
    """A running auth service, and what an operator and users do with it."""

    def __init__(self, process: SupervisedProcess) -> None:
        self.process = process
        self.grpc_target = f"127.0.0.1:{process.ready['grpc_port']}"
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{process.ready['http_port']}", timeout=10, trust_env=False
        )

    def new_tenant(self, *, password: str = PASSWORD) -> LoggedIn:
        """A new tenant's administrator, logged in."""
        name = f"tenant {uuid.uuid4().hex[:8]}"
        answer = self.http.post(
            "/operator/tenants",
            json={"name": name, "administrator": {"login_name": "root", "password": password}},
            headers={"authorization": f"Bearer {OPERATOR_SECRET}"},
        )
        assert answer.status_code == 201, answer.text
        return self.log_in(name, "root", password)

    def new_user(self, administrator: LoggedIn, login_name: str = "alice") -> LoggedIn:
        """A user of the administrator's tenant, logged in."""
        answer = self.http.post(
            "/users",
            json={"login_name": login_name, "password": PASSWORD},
            headers=administrator.bearer,
        )
        assert answer.status_code == 201, answer.text
        return self.log_in(administrator.tenant, login_name)

    def log_in(self, tenant: str, login_name: str, password: str = PASSWORD) -> LoggedIn:
        """A session of this user."""
        answer = self.http.post(
            "/login", json={"tenant": tenant, "login_name": login_name, "password": password}
        )
        assert answer.status_code == 200, answer.text
        body = answer.json()
        return LoggedIn(
            tenant,
            body["tenant_id"],
            body["user_id"],
            login_name,
            body["access_token"],
            body["refresh_token"],
        )

    def log_lines(self) -> list[dict[str, object]]:
        """Every log line so far, without the ready line; what is no JSON fails."""
        lines = self.process.log_path.read_text().splitlines()
        return [line for text in lines if "event" in (line := json.loads(text))]


@contextmanager
def running_auth(
    postgres: PostgresServer, *, more: Mapping[str, str] | None = None, name: str = "auth"
) -> Iterator[RunningAuth]:
    """Starts the service, and stops it at the end."""
    with Supervisor() as supervisor:
        specification = ProcessSpecification(
            name=name,
            argv=program(),
            env={**environment(postgres), **(more or {})},
            stop_limit_seconds=10,
        )
        supervisor.start(specification)
        running = RunningAuth(supervisor[name])
        try:
            yield running
        finally:
            running.http.close()


def error_of(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an answer that is an error in the services' shape, and nothing else."""
    body = answer.json()
    assert set(body) == {"error"}, shlex.quote(answer.text)
    assert set(body["error"]) == {"code", "message", "request_id"}
    return answer.status_code, body["error"]["code"]
