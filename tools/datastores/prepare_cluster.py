"""Prepares a cluster from the command line; Bazel's rule `postgres_cluster` calls it.

prepare_cluster --output cluster.tar --service backend=path/to/migrate --role backend_relay
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.datastores.errors import DatastoreError
from tools.datastores.preparation import ServiceMigration, build_cluster
from tools.processes import ProcessError


def main(arguments: Sequence[str]) -> int:
    """Gives the exit code: 0, 1 when the preparation failed, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(prog="prepare_cluster", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.tar")
    parser.add_argument("--service", action="append", required=True, metavar="NAME=PROGRAM")
    parser.add_argument("--role", action="append", default=[], metavar="NAME_ROLE")
    options = parser.parse_args(arguments)
    try:
        services = _services(options.service, options.role)
    except ValueError as error:
        parser.error(str(error))
    try:
        build_cluster(options.output, services)
    except (DatastoreError, ProcessError) as error:
        sys.stderr.write(f"prepare_cluster: {error}\n")
        return 1
    return 0


def _services(programs: Sequence[str], roles: Sequence[str]) -> list[ServiceMigration]:
    """One for each NAME=PROGRAM, with those of the roles whose longest prefix it is."""
    paths: dict[str, Path] = {}
    for text in programs:
        name, equals, program = text.partition("=")
        if not equals or not program or name in paths:
            message = f"--service {text}: expected NAME=PROGRAM, each name once"
            raise ValueError(message)
        paths[name] = Path(program)
    owned: dict[str, list[str]] = {name: [] for name in paths}
    for role in roles:
        candidates = [name for name in paths if role.startswith(f"{name}_")]
        if not candidates:
            message = f"--role {role}: no service is called so that it is one of its roles"
            raise ValueError(message)
        owned[max(candidates, key=len)].append(role)
    return [
        ServiceMigration(name=name, program=path, roles=owned[name]) for name, path in paths.items()
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
