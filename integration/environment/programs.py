"""What the system is made of: each service's program and files, and the prepared databases.

They are data: nothing of a service is imported here. In a test or under `tools/bazel run` they lie
in the runfiles, beside this file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from tools.datastores import ServiceMigration
from tools.local.service import Command, Service

SERVICES: Final = ("auth", "analytics", "backend")
"""The services in the order in which they start: each needs only those before it."""

_ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Each service, by its name, and the cluster with every service's migrations."""

    cluster: Path
    services: dict[str, Service]

    @classmethod
    def built(cls) -> Self:
        """The ones that Bazel built.

        Raises:
            FileNotFoundError: this process was not started by Bazel, or they are none of its data.
        """
        cluster = _ROOT / "integration/environment/cluster.tar"
        folders = [_ROOT / "services" / name for name in SERVICES]
        for path in (cluster, *(folder / "service" for folder in folders)):
            if not path.exists():
                raise FileNotFoundError(
                    f"{path}: add //integration/environment to the target's deps, and start it by "
                    "tools/bazel"
                )
        services = {folder.name: Service.read(folder) for folder in folders}
        return cls(cluster=cluster, services=services)

    def migrations(self) -> list[ServiceMigration]:
        """How each service's database is made on servers without a prepared cluster."""
        return [
            ServiceMigration(
                name=name,
                program=Path(service.migration[0]),
                arguments=[str(argument) for argument in service.migration[1:]],
                roles=[f"{name}_{role}" for role in service.database_roles if role != "service"],
            )
            for name, service in self.services.items()
        ]

    def replacing(self, service: str, command: Command) -> Self:
        """The same with another program for one service."""
        if service not in self.services:
            raise KeyError(f"expected one of {', '.join(self.services)}; got {service!r}")
        other = replace(self.services[service], command=command)
        return replace(self, services={**self.services, service: other})
