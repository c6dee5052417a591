"""The auth service as a real process on a real database, for tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from tools.datastores import Datastores
from tools.local.service import Service
from tools.local.system import System
from tools.local.tests.running import RunningServices, running_services
from tools.processes import SupervisedProcess, Supervisor

SERVICE = Service.read(Path(__file__).parents[1])


class RunningAuth(RunningServices):
    """A running auth service, and one client of it."""

    def __init__(self, supervisor: Supervisor, system: System, front: str) -> None:
        super().__init__(supervisor, system, front)
        self.http = httpx.Client(base_url=self.url(), timeout=10, trust_env=False)

    @property
    def process(self) -> SupervisedProcess:
        """The service's process."""
        return self.supervisor[self.front]


@contextmanager
def running_auth(
    datastores: Datastores, *, settings: Mapping[str, str] | None = None
) -> Iterator[RunningAuth]:
    """Starts the service, and stops it at the end."""
    more = {"auth": {"LOG_LEVEL": "debug", **(settings or {})}}
    processes = {"auth": SERVICE}
    with running_services(
        RunningAuth, datastores, processes, front="auth", settings=more
    ) as running:
        try:
            yield running
        finally:
            running.http.close()
