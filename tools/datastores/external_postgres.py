"""Databases and roles of one run, on a PostgreSQL that somebody else runs."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NoReturn, Self

from tools.datastores import service_databases
from tools.datastores.addresses import PostgresAddress
from tools.datastores.errors import NotOursError
from tools.datastores.external_administration import (
    SERVER,
    ExternalAdministration,
    check_log_in,
    check_server,
)
from tools.datastores.leftovers import remove_from_postgres, sweep_postgres
from tools.datastores.names import Names
from tools.datastores.passwords import new_password
from tools.datastores.preparation import ServiceMigration, run_migration
from tools.datastores.presence import PostgresPresence, lock_number
from tools.processes import SupervisedProcess, Supervisor

_AT_ONCE: Final = 2


class ExternalPostgres:
    """The surface of `PostgresServer`, for one run: names are those that services know.

    Inside `with` every service's database is there, migrated, with its roles and a template. On
    leaving, all that carries the run's name is gone. What an earlier run left that was killed is
    removed at the start.
    """

    def __init__(
        self,
        address: PostgresAddress,
        names: Names,
        services: Sequence[ServiceMigration],
        supervisor: Supervisor,
    ) -> None:
        self.admin = ExternalAdministration(address, names)
        self.host = address.host
        self.port = address.port
        self._address = address
        self._names = names
        self._services = services
        self._supervisor = supervisor
        self._server = ExternalAdministration(address)
        self._passwords: dict[str, str] = {}
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        check_server(self._server)
        try:
            self._start()
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._cleanup.close()

    @property
    def process(self) -> SupervisedProcess:
        """Raises NotOursError: nobody here started it."""
        self._refuse()

    @property
    def login_roles(self) -> Sequence[str]:
        """The run's roles that may log in over TCP."""
        return self._ours(service_databases.login_roles(self._server))

    @property
    def databases(self) -> Sequence[str]:
        """The run's databases that its roles may connect to."""
        found = self._ours(service_databases.databases(self._server))
        return [name for name in found if name != "postgres"]

    def password(self, role: str) -> str:
        """A login role's password. Raises KeyError for a role that has none."""
        if role not in self._passwords:
            message = f"role {role!r} has no password; there are {sorted(self._passwords)}"
            raise KeyError(message)
        return self._passwords[role]

    def dsn(self, database: str, role: str) -> str:
        """What ``asyncpg.connect`` takes, password included."""
        names = self._names
        return self._address.dsn(names.database(database), names.role(role), self.password(role))

    def url(self, database: str, role: str) -> str:
        """What SQLAlchemy takes, with asyncpg as the driver."""
        return self.dsn(database, role).replace("postgresql:", "postgresql+asyncpg:", 1)

    def create_database(self, name: str, template: str | None = None) -> None:
        """A new database: a copy of a service's migrated one, or an empty one."""
        database = self._names.database(name)
        if template is None:
            creation = service_databases.SHARED_CREATION
            service_databases.create_empty_database(self._server, database, creation=creation)
            service_databases.close_database(self._server, database)
        else:
            service_databases.copy_service_database(
                self._server,
                self._names.database(template),
                database,
                copy=service_databases.SHARED_COPY,
            )

    def drop_database(self, name: str) -> None:
        """Drops a database and ends the connections to it."""
        service_databases.drop_database(self._server, self._names.database(name))

    def create_login_role(self, role: str) -> None:
        """A further role that may log in, with a password and no rights."""
        service_databases.create_login_role(self._server, self._names.role(role))
        self._give_passwords([role])

    def grant_connect(self, database: str, role: str) -> None:
        """Lets a role connect to a database and use its schema ``public``."""
        names = self._names
        service_databases.grant_connect(self._server, names.database(database), names.role(role))

    def restart(self) -> None:
        """Raises NotOursError."""
        self._refuse()

    def kill(self) -> None:
        """Raises NotOursError."""
        self._refuse()

    def _start(self) -> None:
        names = self._names
        presence = PostgresPresence(self._server.dsn(), names.label, lock_number(names.run))
        self._cleanup.enter_context(presence)
        if not presence.held:
            message = f"there is a run {names.run} already"
            raise RuntimeError(message)
        sweep_postgres(self._server)
        self._cleanup.callback(remove_from_postgres, self._server, names)
        self.create_database("postgres")
        self.admin.execute("CREATE EXTENSION pg_stat_statements")
        for service in self._services:
            service_databases.create_service_database(
                self._server,
                names.database(service.name),
                [names.role(role) for role in service.login_roles],
                creation=service_databases.SHARED_CREATION,
            )
            service_databases.close_database(self._server, names.database(service.name))
        owners = [service_databases.owner_of(service.name) for service in self._services]
        self._give_passwords([*owners, *(r for s in self._services for r in s.login_roles)])
        if owners:
            dsn = self.dsn(self._services[0].name, self._services[0].login_roles[0])
            check_log_in(dsn, names.role(self._services[0].login_roles[0]))
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            list(threads.map(self._migrate, self._services))
        for service in self._services:
            service_databases.close_preparation(
                self._server,
                names.database(service.name),
                copy=service_databases.SHARED_COPY,
            )
            del self._passwords[service_databases.owner_of(service.name)]

    def _migrate(self, service: ServiceMigration) -> None:
        owner = service_databases.owner_of(service.name)
        run_migration(
            service,
            self._supervisor,
            url=self.url(service.name, owner),
            database=self._names.database(service.name),
        )

    def _give_passwords(self, roles: Sequence[str]) -> None:
        passwords = {role: new_password() for role in roles}
        given = [(self._names.role(role), password) for role, password in passwords.items()]
        service_databases.set_passwords(self.admin, given)
        self._passwords |= passwords

    def _ours(self, names: Sequence[str]) -> list[str]:
        return [own for name in names if (own := self._names.logical(name)) is not None]

    def _refuse(self) -> NoReturn:
        raise NotOursError(SERVER)
