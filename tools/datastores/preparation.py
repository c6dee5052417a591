"""Preparing a cluster once: databases, roles and every service's migrations, packed in one file.

The result holds no password and no verifier. A server on a copy starts in a tenth of a second.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tools.datastores import service_databases
from tools.datastores.administration import Administration
from tools.datastores.archive import pack
from tools.datastores.cluster import Cluster
from tools.datastores.errors import MigrationError
from tools.datastores.settings import PREPARATION_ACCESS, server_settings
from tools.datastores.shared_memory import clear_stale_folder
from tools.processes import (
    ProcessError,
    ProcessSpecification,
    Supervisor,
    WorkingFolder,
)

_MIGRATION_LIMIT_SECONDS = 120.0
_MIGRATIONS_AT_ONCE = 2
_SOCKET_NUMBER = 5432


@dataclass(frozen=True, kw_only=True)
class ServiceMigration:
    """One service's database: the program that migrates it, and who may log in.

    `roles` are login roles besides ``<name>_service``, each named ``<name>_…``. The program runs as
    ``<name>_owner`` with DATABASE_URL (for SQLAlchemy), SERVICE_DATABASE, SERVICE_ROLE and `env`.
    All roles exist by then; granting them rights on tables is the program's part.
    """

    name: str
    program: Path
    arguments: Sequence[str] = ()
    roles: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        service_databases.checked(self.name)
        for role in self.roles:
            if not service_databases.checked(role).startswith(f"{self.name}_"):
                message = f"role {role!r} of service {self.name!r} must begin with {self.name}_"
                raise ValueError(message)

    @property
    def login_roles(self) -> list[str]:
        """Every role that may log in to this service's database."""
        return [service_databases.service_role_of(self.name), *self.roles]


def build_cluster(
    output: Path, services: Sequence[ServiceMigration], *, log_directory: Path | None = None
) -> None:
    """Makes a cluster, migrates the services' databases in it, and packs it into `output`.

    Raises MigrationError when a program fails, and then writes nothing.
    """
    output = output.absolute()
    with (
        WorkingFolder.create("prepare", in_memory=True, before_sweep=clear_stale_folder) as folder,
        Supervisor(log_directory) as supervisor,
    ):
        supervisor.adopt(folder.path)
        cluster = Cluster.below(folder.path)
        cluster.initialise(supervisor)
        with _serving(cluster, supervisor) as admin:
            service_databases.close_to_public(admin)
            for service in services:
                service_databases.create_service_database(admin, service.name, service.login_roles)
            with ThreadPoolExecutor(_MIGRATIONS_AT_ONCE) as threads:
                list(threads.map(lambda each: _migrate(each, admin, supervisor), services))
            for service in services:
                service_databases.close_preparation(admin, service.name)
        pack(cluster.folder, output, supervisor)


@contextmanager
def _serving(cluster: Cluster, supervisor: Supervisor) -> Iterator[Administration]:
    settings = server_settings(durable=False, changes={"listen_addresses": ""})
    server = cluster.specification(
        "postgres", _SOCKET_NUMBER, access=PREPARATION_ACCESS, server_settings=settings
    )
    supervisor.start(server)
    yield Administration(cluster.sockets, _SOCKET_NUMBER)
    supervisor.remove(server.name)


def _migrate(service: ServiceMigration, admin: Administration, supervisor: Supervisor) -> None:
    url = admin.url(service.name, service_databases.owner_of(service.name))
    run_migration(service, supervisor, url=url, database=service.name)


def run_migration(
    service: ServiceMigration, supervisor: Supervisor, *, url: str, database: str
) -> None:
    """Runs a service's migration program to its end.

    Args:
        service: whose program.
        supervisor: what it is a process of, meanwhile.
        url: of the database under its owner, for SQLAlchemy.
        database: what the service's database is called on the server; its roles are called alike.

    Raises:
        MigrationError: the program failed, or took longer than two minutes.
    """
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "DATABASE_URL": url,
        "SERVICE_DATABASE": database,
        "SERVICE_ROLE": service_databases.service_role_of(database),
        **service.env,
    }
    program = ProcessSpecification(
        name=f"migrate-{service.name}",
        argv=[service.program.absolute(), *service.arguments],
        env=environment,
    )
    try:
        supervisor.run(program, _MIGRATION_LIMIT_SECONDS)
    except (ProcessError, TimeoutError) as error:
        raise MigrationError(service.name, str(error)) from error
