"""One service in the foreground, on embedded datastores, for whoever works on it.

What a service needs is data: its `access.json` says what it may do in the datastores, its
`local.json` which settings it wants, in `${words}` that are filled in here, and what to show.
"""

import argparse
import json
import os
import secrets
import signal
import string
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Self

from joserfc.jwk import OKPKey

from tools.datastores.datastores import Datastores
from tools.datastores.errors import DatastoreError
from tools.processes import ProcessError, ProcessSpecification, ReadyLine, Supervisor
from tools.processes.readiness import Ready

_WATCH_SECONDS = 0.5
_HEALTH_LIMIT_SECONDS = 60.0
_HIGHEST_PORT = 65535


class _Parser(argparse.ArgumentParser):
    """Leaves with 64 where argparse would with 2, which Bazel uses itself."""

    def error(self, message: str) -> NoReturn:
        """See `argparse`."""
        sys.stderr.write(f"{self.prog}: {message}\n")
        sys.exit(os.EX_USAGE)


@dataclass(frozen=True, kw_only=True)
class LocalService:
    """A service's program, and what its files say that it needs."""

    name: str
    program: Path
    redis_rules: Sequence[str]
    database_roles: Sequence[str]
    settings: Mapping[str, str]
    introduction: Sequence[str]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Reads a service's folder, with the program that Bazel built there."""
        access = json.loads((folder / "access.json").read_text())
        local = json.loads((folder / "local.json").read_text())
        return cls(
            name=folder.name,
            program=folder / "service",
            redis_rules=access["redis_rules"],
            database_roles=access["database_roles"],
            settings=local["settings"],
            introduction=local["introduction"],
        )


def run_locally(
    folders: Sequence[Path], *, cluster: Path, arguments: Sequence[str] | None = None
) -> int:
    """Runs the last of these services, and before it the others, which it needs.

    Returns when Ctrl-C, SIGTERM or a process that dies ends it: 0, or 69 when one died or did not
    start.

    Args:
        folders: the services' folders, each after those that it needs.
        cluster: their prepared databases.
        arguments: of the command line.
    """
    services = [LocalService.read(folder) for folder in folders]
    ports = _parse(services[-1].name, arguments)
    asked_to_end = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked_to_end.set())
    try:
        with Supervisor() as supervisor, Datastores(cluster, supervisor=supervisor) as datastores:
            try:
                words = _start(supervisor, datastores, services, ports)
                log = supervisor[services[-1].name].log_path
                sys.stdout.write(f"{_introduction(services, words)}Its log: {log}\n")
                sys.stdout.write("Ctrl-C stops everything.\n")
                sys.stdout.flush()
                while not asked_to_end.wait(_WATCH_SECONDS):
                    supervisor.check()
            finally:
                # The services first, while the datastores still answer them.
                supervisor.stop()
    except (ProcessError, DatastoreError) as error:
        sys.stderr.write(f"{services[-1].name}: {error}\n")
        return os.EX_UNAVAILABLE
    sys.stdout.write("stopped.\n")
    return 0


def _parse(name: str, arguments: Sequence[str] | None) -> Mapping[str, str]:
    parser = _Parser(
        prog=f"//services/{name}:local",
        description=f"Runs {name} on embedded datastores, until Ctrl-C.",
    )
    for option in ("--http-port", "--grpc-port"):
        parser.add_argument(option, type=_port, default=0, help="default: one that is free")
    options = parser.parse_args(arguments)
    return {"HTTP_PORT": str(options.http_port), "GRPC_PORT": str(options.grpc_port)}


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _HIGHEST_PORT:
        message = f"expected a number from 0 to {_HIGHEST_PORT}, got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _start(
    supervisor: Supervisor,
    datastores: Datastores,
    services: Sequence[LocalService],
    ports: Mapping[str, str],
) -> dict[str, str]:
    """Starts all; gives the words that introductions are filled with."""
    words = _credentials([service.name for service in services])
    earlier = ["postgres", "valkey"]
    specifications = []
    for service in services:
        own_ports = ports if service is services[-1] else {}
        variables = {**_datastore_settings(datastores, service), **own_ports}
        specifications.append(_specification(service, variables, words, list(earlier)))
        earlier.append(service.name)
    supervisor.start(*specifications)
    ready = {service.name: supervisor[service.name].ready for service in services}
    return words | _addresses(ready)


def _credentials(names: Sequence[str]) -> dict[str, str]:
    """New ones at each start: nothing is kept between two."""
    key = OKPKey.generate_key("Ed25519", parameters={"kid": secrets.token_hex(8)}, private=True)
    workloads = {name: secrets.token_urlsafe(32) for name in names}
    return {
        "signing_key": json.dumps(key.as_dict(private=True)),
        "operator_secret": secrets.token_urlsafe(32),
        "workload_secrets": json.dumps(workloads),
        **{f"{name}_workload_secret": secret for name, secret in workloads.items()},
    }


def _datastore_settings(datastores: Datastores, service: LocalService) -> dict[str, str]:
    settings = {}
    for role in service.database_roles:
        name = "POSTGRES_URL" if role == "service" else f"{role.upper()}_POSTGRES_URL"
        settings[name] = datastores.postgres.url(service.name, f"{service.name}_{role}")
    if service.redis_rules:
        datastores.valkey.add_user(service.name, list(service.redis_rules))
        settings["REDIS_URL"] = datastores.valkey.url(service.name)
    return settings


def _specification(
    service: LocalService,
    variables: Mapping[str, str],
    words: Mapping[str, str],
    depends_on: Sequence[str],
) -> ProcessSpecification:
    def environment(ready: Mapping[str, Ready]) -> dict[str, str]:
        filled = _fill(service.settings, {**words, **_addresses(ready)})
        return {f"WATERTIGHT_{name}": value for name, value in {**variables, **filled}.items()}

    return ProcessSpecification(
        name=service.name,
        argv=[service.program],
        env=environment,
        ready=ReadyLine(health_path="/health", port_key="http_port"),
        depends_on=depends_on,
        health_limit_seconds=_HEALTH_LIMIT_SECONDS,
        stop_limit_seconds=10.0,
    )


def _addresses(ready: Mapping[str, Ready]) -> dict[str, str]:
    words = {}
    for name, said in ready.items():
        if "http_port" in said:
            words[f"{name}_url"] = f"http://127.0.0.1:{said['http_port']}"
            words[f"{name}_grpc_target"] = f"127.0.0.1:{said['grpc_port']}"
    return words


def _fill(texts: Mapping[str, str], words: Mapping[str, str]) -> dict[str, str]:
    return {name: string.Template(text).substitute(words) for name, text in texts.items()}


def _introduction(services: Sequence[LocalService], words: Mapping[str, str]) -> str:
    lines = []
    for service in services:
        url, target = words[f"{service.name}_url"], words[f"{service.name}_grpc_target"]
        lines.append(f"{service.name:<10} {url}  ({url}/docs, gRPC {target})")
    for service in services:
        lines += [string.Template(line).substitute(words) for line in service.introduction]
    return "\n".join([*lines, ""])
