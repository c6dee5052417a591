"""What a service's own files say about how it is started: `access.json` and `local.json`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

Command = tuple[str | Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service's program, what it may do in the datastores, and which settings it wants.

    `migration` is the program that migrates its database, built where somebody needs it.

    `redis_rules` are ACL rules without user and password, with `${redis_namespace}` for what its
    system's keys begin with; none means that it does not use Redis.
    `database_roles` are login roles `<name>_<role>` of its own database. `settings` and
    `introduction`, which a developer is shown, have `${words}` in them that a start fills in.
    """

    name: str
    command: Command
    migration: Command
    redis_rules: Sequence[str]
    database_roles: Sequence[str]
    settings: Mapping[str, str]
    introduction: Sequence[str]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Reads a service's folder, with the program that Bazel built there.

        Where Bazel built none, as in an editor's test run, its `main.py` is the program.
        """
        access = json.loads((folder / "access.json").read_text())
        local = json.loads((folder / "local.json").read_text())
        return cls(
            name=folder.name,
            command=_command(folder, "service", "main"),
            migration=_command(folder, "migrate", "migrate"),
            redis_rules=tuple(access["redis_rules"]),
            database_roles=tuple(access["database_roles"]),
            settings=local["settings"],
            introduction=tuple(local["introduction"]),
        )


def _command(folder: Path, program: str, module: str) -> Command:
    built = folder / program
    if built.exists():
        return (built.absolute(),)
    path = os.pathsep.join(sys.path)
    return (
        "/usr/bin/env",
        f"PYTHONPATH={path}",
        sys.executable,
        "-m",
        f"services.{folder.name}.{module}",
    )
