"""What the system is made of: each service's program and access, and the prepared databases.

They are data: nothing of a service is imported here. In a test or under `tools/bazel run` they lie
in the runfiles, beside this file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

SERVICES: Final = ("auth", "analytics", "backend")
"""The services in the order in which they start: each needs only those before it."""

Command = tuple[str | Path, ...]

_ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Access:
    """What a service may do in the datastores, as its own `access.json` says.

    `redis_rules` are ACL rules without user and password; none means that it does not use Redis.
    `database_roles` are login roles `<service>_<role>` of its own database.
    """

    redis_rules: Sequence[str]
    database_roles: Sequence[str]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads an `access.json`."""
        fields = json.loads(path.read_text())
        return cls(tuple(fields["redis_rules"]), tuple(fields["database_roles"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """A command and an access for each service, and the cluster with every service's migrations."""

    cluster: Path
    commands: dict[str, Command]
    access: dict[str, Access]

    @classmethod
    def built(cls) -> Self:
        """The ones that Bazel built.

        Raises:
            FileNotFoundError: this process was not started by Bazel, or they are none of its data.
        """
        cluster = _ROOT / "integration/environment/cluster.tar"
        commands = {name: _ROOT / "services" / name / "service" for name in SERVICES}
        access = {name: _ROOT / "services" / name / "access.json" for name in SERVICES}
        for path in (cluster, *commands.values(), *access.values()):
            if not path.exists():
                raise FileNotFoundError(
                    f"{path}: add //integration/environment to the target's deps, and start it by "
                    "tools/bazel"
                )
        return cls(
            cluster=cluster,
            commands={name: (path,) for name, path in commands.items()},
            access={name: Access.read(path) for name, path in access.items()},
        )

    def replacing(self, service: str, command: Command) -> Self:
        """The same with another program for one service."""
        if service not in self.commands:
            raise KeyError(f"expected one of {', '.join(self.commands)}; got {service!r}")
        return replace(self, commands={**self.commands, service: command})
