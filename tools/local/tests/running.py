"""Services as real processes on real datastores, and who logs in to them, for services' tests."""

from __future__ import annotations

import json
import shlex
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import httpx

from tools.datastores import Servers
from tools.local.credentials import Credentials
from tools.local.service import Service
from tools.local.system import CHEAP_PASSWORDS, System, reserved_addresses
from tools.processes import Supervisor

PASSWORD: Final = "correct horse battery"
WORKLOADS: Final = ("backend", "analytics")
_LIMIT_SECONDS: Final = 15.0


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

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The same for gRPC."""
        return tuple(self.bearer.items())


class RunningServices:
    """The processes, and what an operator and users do with them.

    `front` is the process that is meant where none is named; `auth` is among the processes.
    """

    def __init__(self, supervisor: Supervisor, system: System, front: str) -> None:
        self.supervisor = supervisor
        self.system = system
        self.front = front

    @property
    def datastores(self) -> Servers:
        """What they run on."""
        return self.system.datastores

    @property
    def operator(self) -> dict[str, str]:
        """The header that authenticates the operator."""
        return {"authorization": f"Bearer {self.system.credentials.operator_secret}"}

    def url(self, name: str = "") -> str:
        """Where a process answers over HTTP."""
        return self.system.addresses[name or self.front].url

    def grpc_target(self, name: str = "") -> str:
        """Where a process answers over gRPC."""
        return self.system.addresses[name or self.front].grpc_target

    def request(self, method: str, path: str, name: str = "", **more: Any) -> httpx.Response:
        """One request to a process."""
        return httpx.request(
            method, self.url(name) + path, timeout=_LIMIT_SECONDS, trust_env=False, **more
        )

    def new_tenant(self, *, password: str = PASSWORD) -> LoggedIn:
        """A new tenant's administrator, logged in."""
        name = f"tenant {uuid.uuid4().hex[:8]}"
        administrator = {"login_name": "root", "password": password}
        body = {"name": name, "administrator": administrator}
        answer = self.request("POST", "/operator/tenants", "auth", json=body, headers=self.operator)
        assert answer.status_code == 201, answer.text
        return self.log_in(name, "root", password)

    def new_user(self, administrator: LoggedIn, login_name: str = "alice") -> LoggedIn:
        """A user of the administrator's tenant, logged in."""
        body = {"login_name": login_name, "password": PASSWORD}
        answer = self.request("POST", "/users", "auth", json=body, headers=administrator.bearer)
        assert answer.status_code == 201, answer.text
        return self.log_in(administrator.tenant, login_name)

    def log_in(self, tenant: str, login_name: str, password: str = PASSWORD) -> LoggedIn:
        """A session of this user."""
        body = {"tenant": tenant, "login_name": login_name, "password": password}
        answer = self.request("POST", "/login", "auth", json=body)
        assert answer.status_code == 200, answer.text
        said = answer.json()
        tokens = (said["access_token"], said["refresh_token"])
        return LoggedIn(tenant, said["tenant_id"], said["user_id"], login_name, *tokens)

    def log_out(self, user: LoggedIn) -> None:
        """Ends the user's session; returns when that is committed."""
        answer = self.request("POST", "/logout", "auth", headers=user.bearer)
        assert answer.status_code == 204, answer.text

    def log_lines(self, name: str = "") -> list[dict[str, Any]]:
        """Every log line of a process so far, without its ready line; what is no JSON fails."""
        lines = self.supervisor[name or self.front].log_path.read_text().splitlines()
        return [line for text in lines if "event" in (line := json.loads(text))]


_Running = TypeVar("_Running", bound=RunningServices)


@contextmanager
def running_services(
    kind: type[_Running],
    datastores: Servers,
    processes: Mapping[str, Service],
    *,
    front: str,
    settings: Mapping[str, Mapping[str, str]] | None = None,
) -> Iterator[_Running]:
    """Starts processes of services, each after those that it needs, and stops them at the end.

    Ports stay when a process is restarted.

    Args:
        kind: what a service's tests do with them.
        datastores: prepared for these services.
        processes: which service each is one of, by the process's name.
        front: the process that is meant where none is named.
        settings: further ones, by the service's name and without the variables' prefix.
    """
    more = settings or {}
    with reserved_addresses(processes) as addresses, Supervisor() as supervisor:
        system = System(
            datastores=datastores,
            credentials=Credentials.generate(WORKLOADS),
            addresses=addresses,
            settings={**more, "auth": {**CHEAP_PASSWORDS, **more.get("auth", {})}},
        )
        supervisor.start(*system.specifications(processes))
        yield kind(supervisor, system, front)


def error_of(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an answer that is an error in the services' shape, and nothing else."""
    body = answer.json()
    assert {"error"} == set(body), shlex.quote(answer.text)
    assert {"code", "message", "request_id"} == set(body["error"])
    return answer.status_code, body["error"]["code"]
