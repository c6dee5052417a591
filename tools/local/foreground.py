"""One service in the foreground, on embedded datastores, for whoever works on it."""

import argparse
import os
import signal
import string
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from tools.datastores import DatastoreError, Datastores
from tools.local.credentials import Credentials
from tools.local.service import Service
from tools.local.system import System
from tools.processes import ProcessError, Supervisor

_WATCH_SECONDS = 0.5
_HIGHEST_PORT = 65535


class _Parser(argparse.ArgumentParser):
    """Leaves with 64 where argparse would with 2, which Bazel uses itself."""

    def error(self, message: str) -> NoReturn:
        """See `argparse`."""
        sys.stderr.write(f"{self.prog}: {message}\n")
        sys.exit(os.EX_USAGE)


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
    services = [Service.read(folder) for folder in folders]
    ports = _parse(services[-1].name, arguments)
    asked_to_end = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked_to_end.set())
    try:
        with Supervisor() as supervisor, Datastores(cluster, supervisor=supervisor) as datastores:
            try:
                system = System(
                    datastores=datastores,
                    credentials=Credentials.generate([service.name for service in services]),
                    settings={services[-1].name: ports},
                )
                processes = {service.name: service for service in services}
                needed = ("postgres", "valkey")
                supervisor.start(*system.specifications(processes, depends_on=needed))
                words = system.words({name: supervisor[name].ready for name in processes})
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


def _introduction(services: Sequence[Service], words: Mapping[str, str]) -> str:
    lines = []
    for service in services:
        url, target = words[f"{service.name}_url"], words[f"{service.name}_grpc_target"]
        lines.append(f"{service.name:<10} {url}  ({url}/docs, gRPC {target})")
    for service in services:
        lines += [string.Template(line).substitute(words) for line in service.introduction]
    return "\n".join([*lines, ""])
