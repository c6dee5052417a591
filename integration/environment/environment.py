"""The whole system, running: datastores, three services, and control of each process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self, TypeVar

from integration.environment.programs import SERVICES, Programs
from integration.environment.spans import SpanReceiver, receiving
from tools.datastores import (
    Datastores,
    ExternalDatastores,
    Names,
    Postgres,
    Redis,
    Servers,
    external_servers,
)
from tools.local.credentials import Credentials
from tools.local.system import CHEAP_PASSWORDS, Address, System, reserved_addresses
from tools.processes import SupervisedProcess, Supervisor

_T = TypeVar("_T")


class Environment:
    """The running system inside `async with`: two backend replicas beside auth and analytics.

    Everything listens on 127.0.0.1, at ports that stay the same when a process is restarted. On
    leaving, everything has ended, and only the logs are left, where a directory was given for them.

    Where WATERTIGHT_POSTGRES_URL and WATERTIGHT_REDIS_URL are set, it runs on those servers, under
    a run's name. Who stops its datastores or looks into their logs says that it must own them.

    Args:
        programs: what to run; by default what Bazel built.
        replicas: how many processes the backend has: `backend-1`, `backend-2` and so on.
        log_directory: keeps the logs; by default the test's outputs, or nowhere.
        settings: further settings of a service, without the variables' prefix.
        durable: whether the datastores survive being killed, at the cost of speed.
        postgres_settings: PostgreSQL's own, which have the last word.
        embedded: whether it must own its datastores; it does for `durable` or `postgres_settings`.

    Raises:
        ServerAddressError: one of the two variables is set alone, or cannot be read.
    """

    def __init__(
        self,
        *,
        programs: Programs | None = None,
        replicas: int = 2,
        log_directory: Path | None = None,
        settings: Mapping[str, Mapping[str, str]] | None = None,
        durable: bool = False,
        postgres_settings: Mapping[str, str] | None = None,
        embedded: bool = False,
    ) -> None:
        if replicas < 1:
            raise ValueError(f"expected at least one backend replica, got {replicas}")
        self.programs = programs or Programs.built()
        self.credentials = Credentials.generate([name for name in SERVICES if name != "auth"])
        self._replicas = replicas
        self._log_directory = log_directory
        self._settings = settings or {}
        self._durable = durable
        self._postgres_settings = postgres_settings or {}
        owned = embedded or durable or bool(postgres_settings)
        self._external = None if owned else external_servers()
        self._cleanup = contextlib.ExitStack()
        self._addresses: dict[str, Address] = {}
        self._supervisor: Supervisor | None = None
        self._datastores: Servers | None = None
        self._spans: SpanReceiver | None = None

    async def __aenter__(self) -> Self:
        try:
            await _in_thread(self._start)
        except BaseException:
            await _in_thread(self._cleanup.close)
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        try:
            if exception[0] is None:
                self.supervisor.check()
        finally:
            await _in_thread(self._cleanup.close)

    @property
    def supervisor(self) -> Supervisor:
        """All processes: `auth`, `analytics`, `backend-1`, and datastores that are its own."""
        return _started(self._supervisor)

    @property
    def postgres(self) -> Postgres:
        """The database server; `.admin` is for observers."""
        return _started(self._datastores).postgres

    @property
    def valkey(self) -> Redis:
        """The Redis server; `.admin` is for observers."""
        return _started(self._datastores).valkey

    @property
    def names(self) -> Names:
        """What the system's databases, roles and keys are called on the servers."""
        return _started(self._datastores).names

    @property
    def external(self) -> bool:
        """Whether somebody else runs the datastores, whose logs cannot be seen from here then."""
        return self._external is not None

    @property
    def datastore_processes(self) -> Sequence[SupervisedProcess]:
        """The datastores' processes, where they are its own; none where somebody else runs them."""
        return () if self.external else (self.postgres.process, self.valkey.process)

    @property
    def spans(self) -> SpanReceiver:
        """What every service has traced, as it came."""
        return _started(self._spans)

    @property
    def auth_url(self) -> str:
        """The base URL of auth."""
        return self._addresses["auth"].url

    @property
    def auth_grpc_target(self) -> str:
        """`host:port` of auth's gRPC interface, which services alone may use."""
        return self._addresses["auth"].grpc_target

    @property
    def analytics_url(self) -> str:
        """The base URL of analytics."""
        return self._addresses["analytics"].url

    @property
    def analytics_grpc_target(self) -> str:
        """`host:port` of analytics' gRPC interface, which services alone may use."""
        return self._addresses["analytics"].grpc_target

    @property
    def backend_url(self) -> str:
        """The base URL of the backend's first replica."""
        return self.backend_urls[0]

    @property
    def backend_urls(self) -> tuple[str, ...]:
        """The base URLs of the backend's replicas."""
        return tuple(self._addresses[name].url for name in self.replica_names)

    @property
    def backend_grpc_targets(self) -> tuple[str, ...]:
        """`host:port` of the gRPC interfaces of the backend's replicas."""
        return tuple(self._addresses[name].grpc_target for name in self.replica_names)

    @property
    def replica_names(self) -> tuple[str, ...]:
        """The names of the backend's processes."""
        return tuple(f"backend-{number}" for number in range(1, self._replicas + 1))

    @property
    def service_processes(self) -> Mapping[str, SupervisedProcess]:
        """The services' processes by name; their `log_path` holds all that they wrote."""
        return {name: self.supervisor[name] for name in self._addresses}

    async def control(self, name: str, action: Callable[[SupervisedProcess], _T]) -> _T:
        """Acts on one process without blocking the loop: `SupervisedProcess.kill`, for instance.

        Raises:
            NotOursError: it is a server that somebody else runs.
        """
        datastores = {"postgres": self.postgres, "valkey": self.valkey}

        def act() -> _T:
            server = datastores.get(name)
            return action(self.supervisor[name] if server is None else server.process)

        return await _in_thread(act)

    def _start(self) -> None:
        self._spans = self._cleanup.enter_context(receiving())
        self._supervisor = self._cleanup.enter_context(Supervisor(self._log_directory))
        self._datastores = self._start_datastores(self._supervisor)
        # The services first, while the datastores still answer them.
        self._cleanup.callback(self._supervisor.stop)
        processes = {
            name: self.programs.services[name.partition("-")[0]]
            for name in ("auth", "analytics", *self.replica_names)
        }
        self._addresses = self._cleanup.enter_context(reserved_addresses(processes))
        system = System(
            datastores=self._datastores,
            credentials=self.credentials,
            addresses=self._addresses,
            settings={name: self._settings_of(name) for name in SERVICES},
        )
        needed = [process.name for process in self.datastore_processes]
        self._supervisor.start(*system.specifications(processes, depends_on=needed))

    def _start_datastores(self, supervisor: Supervisor) -> Servers:
        if self._external is not None:
            migrations = self.programs.migrations()
            external = ExternalDatastores(self._external, migrations, supervisor)
            return self._cleanup.enter_context(external)
        embedded = Datastores(
            cluster=self.programs.cluster,
            durable=self._durable,
            supervisor=supervisor,
            postgres_settings=self._postgres_settings,
        )
        return self._cleanup.enter_context(embedded)

    def _settings_of(self, service: str) -> dict[str, str]:
        cheap = CHEAP_PASSWORDS if service == "auth" else {}
        given = self._settings.get(service, {})
        return {"OTLP_ENDPOINT": self.spans.endpoint, **cheap, **given}


def _started(part: _T | None) -> _T:
    if part is None:
        raise RuntimeError("the environment is not running; use it in `async with`")
    return part


async def _in_thread(work: Callable[[], _T]) -> _T:
    """Runs blocking work in a thread and waits for its end, also when cancelled meanwhile.

    What is half started cannot be stopped from beside it.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
