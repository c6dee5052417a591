"""How the services of one system are started: their variables, addresses and order."""

from __future__ import annotations

import contextlib
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from tools.datastores import Names, Redis, Servers
from tools.local.credentials import Credentials
from tools.local.service import Service
from tools.processes import ProcessSpecification, ReadyLine, SpecificationError, reserve_port
from tools.processes.readiness import Ready

PREFIX: Final = "WATERTIGHT_"

CHEAP_PASSWORDS: Final = {"PASSWORD_MEMORY_KIB": "1024", "PASSWORD_ITERATIONS": "1"}
"""Settings of auth. One password hash takes 87 ms and 64 MiB as it is deployed, which a system with
made-up passwords spends on nothing."""

_HEALTH_LIMIT_SECONDS: Final = 60.0
_STOP_LIMIT_SECONDS: Final = 10.0  # a service drains for up to seven


@dataclass(frozen=True, slots=True)
class Address:
    """Where one process of a service listens, on 127.0.0.1."""

    http_port: int
    grpc_port: int

    @property
    def url(self) -> str:
        """The base URL of its HTTP interface."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def grpc_target(self) -> str:
        """`host:port` of its gRPC interface."""
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def settings(self) -> dict[str, str]:
        """The settings that make a service listen there."""
        return {"HTTP_PORT": str(self.http_port), "GRPC_PORT": str(self.grpc_port)}


@contextmanager
def reserved_addresses(names: Iterable[str]) -> Iterator[dict[str, Address]]:
    """An address for each process, which is its own until the end, whoever restarts meanwhile."""
    with contextlib.ExitStack() as reservations:
        yield {
            name: Address(*(reservations.enter_context(reserve_port()).port for _ in range(2)))
            for name in names
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """What the processes of one system share.

    `addresses` are by the process's name; a process without one listens where the kernel lets it.
    `settings` are a service's further ones, by its name and without the variables' prefix; they
    have the last word.
    """

    datastores: Servers
    credentials: Credentials
    addresses: Mapping[str, Address] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def specifications(
        self, processes: Mapping[str, Service], *, depends_on: Sequence[str] = ()
    ) -> list[ProcessSpecification]:
        """How to start these processes, by name: each after those that have to tell it an address.

        Where all addresses are known before, all start side by side, and each is healthy once those
        that it needs have answered it.

        Gives every service its user in Redis.

        Args:
            processes: which service each process is one of.
            depends_on: what all of them wait for, of the same supervisor: its datastores.
        """
        specifications = []
        earlier: dict[str, Service] = {}
        for name, service in processes.items():
            needed = [
                other
                for other, its in earlier.items()
                if its.name != service.name and other not in self.addresses
            ]
            specifications.append(self._specification(name, service, [*depends_on, *needed]))
            earlier[name] = service
        return specifications

    def _specification(
        self, name: str, service: Service, depends_on: Sequence[str]
    ) -> ProcessSpecification:
        address = self.addresses.get(name)
        settings = _datastore_settings(self.datastores, service)
        settings |= {} if address is None else address.settings

        def environment(ready: Mapping[str, Ready]) -> dict[str, str]:
            words = self.words(ready)
            return variables(service, settings, words, self.settings.get(service.name, {}))

        return ProcessSpecification(
            name=name,
            argv=service.command,
            env=environment,
            ready=ReadyLine(health_path="/health", port_key="http_port"),
            depends_on=depends_on,
            health_limit_seconds=_HEALTH_LIMIT_SECONDS,
            stop_limit_seconds=_STOP_LIMIT_SECONDS,
        )

    def words(self, ready: Mapping[str, Ready]) -> dict[str, str]:
        """What `${words}` stand for: credentials, and the addresses known or told by processes."""
        told = {
            name: Address(int(str(said["http_port"])), int(str(said["grpc_port"])))
            for name, said in ready.items()
            if "grpc_port" in said
        }
        words = self.credentials.words()
        for name, address in {**told, **self.addresses}.items():
            words[f"{name}_url"] = address.url
            words[f"{name}_grpc_target"] = address.grpc_target
        return words


def variables(
    service: Service,
    settings: Mapping[str, str],
    words: Mapping[str, str],
    more: Mapping[str, str],
) -> dict[str, str]:
    """The complete settings of one process, as environment variables.

    Raises:
        SpecificationError: the service's `local.json` has a word that nobody knows.
    """
    try:
        filled = {
            name: string.Template(text).substitute(words) for name, text in service.settings.items()
        }
    except KeyError as error:
        message = f"{service.name}: local.json has a word that nobody knows here: {error.args[0]!r}"
        raise SpecificationError(message) from error
    everything = {"HOST": "127.0.0.1", **settings, **filled, **more}
    return {f"{PREFIX}{name}": value for name, value in everything.items()}


def redis_url(valkey: Redis, service: Service, names: Names | None = None) -> str:
    """Redis under the service's own user, which is made with the service's rules if need be."""
    try:
        return valkey.url(service.name)
    except KeyError:
        rules = redis_rules(service, names or Names())
        valkey.add_user(service.name, rules)
        return valkey.url(service.name)


def redis_rules(service: Service, names: Names) -> list[str]:
    """A service's rules, for the keys of one system among those that share the server.

    Raises:
        SpecificationError: the service's `access.json` has a word that nobody knows.
    """
    words = {"redis_namespace": names.redis_namespace}
    try:
        return [string.Template(rule).substitute(words) for rule in service.redis_rules]
    except KeyError as error:
        message = f"{service.name}: access.json has a word that nobody knows: {error.args[0]!r}"
        raise SpecificationError(message) from error


def _datastore_settings(datastores: Servers, service: Service) -> dict[str, str]:
    settings = {}
    for role in service.database_roles:
        name = "POSTGRES_URL" if role == "service" else f"{role.upper()}_POSTGRES_URL"
        settings[name] = datastores.postgres.url(service.name, f"{service.name}_{role}")
    if service.redis_rules:
        settings["REDIS_URL"] = redis_url(datastores.valkey, service, datastores.names)
        settings["REDIS_NAMESPACE"] = datastores.names.redis_namespace
    return settings
