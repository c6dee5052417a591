"""An embedded PostgreSQL server: empty, or from a cluster that was prepared with its databases."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict, Unpack
from urllib.parse import quote

from tools.datastores import service_databases
from tools.datastores.administration import Administration
from tools.datastores.archive import unpack
from tools.datastores.cluster import Cluster
from tools.datastores.listening import start_on_reserved_port
from tools.datastores.passwords import new_password
from tools.datastores.settings import RUNNING_ACCESS, server_settings
from tools.datastores.shared_memory import clear_after_unclean_end, clear_stale_folder
from tools.processes import SupervisedProcess, Supervisor, WorkingFolder


class PostgresOptions(TypedDict, total=False):
    """What `PostgresServer.from_prepared` and `empty` take besides.

    `durable` is production's durability (fsync on, on disk); without it data is in memory where
    there is enough, and survives a kill of the server, not a power cut. `supervisor` makes the
    server a process of that one, by the name `name`; without it the server has its own, which logs
    to `log_directory`. `settings` are PostgreSQL's, and have the last word.
    """

    durable: bool
    supervisor: Supervisor | None
    log_directory: Path | None
    name: str
    settings: Mapping[str, str]


@dataclass(frozen=True)
class _Running:
    cluster: Cluster
    supervisor: Supervisor
    port: int
    admin: Administration


class PostgresServer:
    """One server with its own folder, socket, port and passwords.

    Use it as a context manager, or call `start` and `stop`. On TCP it takes 127.0.0.1 and SCRAM
    alone, and never the superuser, who comes by a socket in a folder that only the server's user
    (and root) can enter. Port and passwords stay over restarts. Calls block for a bounded time and
    may come from any thread.
    """

    host = "127.0.0.1"

    def __init__(self, archive: Path | None, **options: Unpack[PostgresOptions]) -> None:
        self.name = options.get("name", "postgres")
        self._archive = archive
        self._options = options
        self._cleanup = contextlib.ExitStack()
        self._passwords: dict[str, str] = {}
        self._running: _Running | None = None

    @classmethod
    def from_prepared(cls, archive: Path, **options: Unpack[PostgresOptions]) -> Self:
        """A server on a copy of a prepared cluster; its login roles get new passwords at start."""
        return cls(archive, **options)

    @classmethod
    def empty(cls, **options: Unpack[PostgresOptions]) -> Self:
        """A server without databases; takes a third of a second more to start."""
        return cls(None, **options)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Unpacks or makes the cluster, and starts it. Raises what can go wrong, and cleans up."""
        if self._running is not None:
            message = f"server {self.name!r} has been started already"
            raise RuntimeError(message)
        try:
            self._running = self._start()
        except BaseException:
            self._cleanup.close()
            raise

    def stop(self) -> None:
        """Stops the server and removes its data.

        Raises ProcessDiedError when it had died by itself.
        """
        self._cleanup.close()
        self._running = None

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1."""
        return self._server.port

    @property
    def admin(self) -> Administration:
        """SQL as superuser."""
        return self._server.admin

    @property
    def process(self) -> SupervisedProcess:
        """The process, to pause, resume, kill, start and restart it."""
        return self._server.supervisor[self.name]

    @property
    def login_roles(self) -> Sequence[str]:
        """The roles that may log in over TCP."""
        return service_databases.login_roles(self.admin)

    @property
    def databases(self) -> Sequence[str]:
        """The databases that roles may connect to."""
        return service_databases.databases(self.admin)

    def password(self, role: str) -> str:
        """A login role's password. Raises KeyError for a role that has none."""
        if role not in self._passwords:
            message = f"role {role!r} has no password; there are {sorted(self._passwords)}"
            raise KeyError(message)
        return self._passwords[role]

    def dsn(self, database: str, role: str) -> str:
        """What ``asyncpg.connect`` takes, over TCP, password included."""
        password = quote(self.password(role), safe="")
        return f"postgresql://{role}:{password}@{self.host}:{self.port}/{database}"

    def url(self, database: str, role: str) -> str:
        """What SQLAlchemy takes, with asyncpg as the driver."""
        return self.dsn(database, role).replace("postgresql:", "postgresql+asyncpg:", 1)

    def create_database(self, name: str, template: str | None = None) -> None:
        """A new database: a copy of a service's migrated one, or an empty one.

        `template` is the service's name; its login roles may connect to the copy as well. To an
        empty database nobody may, until `grant_connect`.
        """
        if template is None:
            service_databases.create_empty_database(self.admin, name)
        else:
            service_databases.copy_service_database(self.admin, template, name)

    def drop_database(self, name: str) -> None:
        """Drops a database and ends the connections to it."""
        service_databases.drop_database(self.admin, name)

    def create_login_role(self, role: str) -> None:
        """A further role that may log in, with a password and no rights."""
        service_databases.create_login_role(self.admin, role)
        self._give_passwords([role])

    def grant_connect(self, database: str, role: str) -> None:
        """Lets a role connect to a database and use its schema ``public``."""
        service_databases.grant_connect(self.admin, database, role)

    def restart(self) -> None:
        """Stops the server in order, and starts it on the same data, port and passwords."""
        self.process.restart()

    def kill(self) -> None:
        """Ends the server as a crash would; ``process.start()`` recovers it."""
        self.process.kill()

    @property
    def _server(self) -> _Running:
        if self._running is None:
            message = f"server {self.name!r} is not running: call start() first"
            raise RuntimeError(message)
        return self._running

    def _start(self) -> _Running:
        durable = self._options.get("durable", False)
        folder = WorkingFolder.create(
            self.name, in_memory=not durable, before_sweep=clear_stale_folder
        )
        cluster = Cluster.below(self._cleanup.enter_context(folder).path)
        supervisor = self._options.get("supervisor") or self._cleanup.enter_context(
            Supervisor(self._options.get("log_directory"))
        )
        supervisor.adopt(cluster.folder)
        if self._archive is None:
            cluster.initialise(supervisor)
        else:
            unpack(self._archive, cluster.folder, supervisor, user=cluster.user)
        changes = self._options.get("settings", {})
        settings = server_settings(durable=durable, changes=changes)
        reservation = start_on_reserved_port(
            supervisor,
            lambda port: cluster.specification(
                self.name, port, access=RUNNING_ACCESS, server_settings=settings
            ),
        )
        self._cleanup.enter_context(reservation)
        self._cleanup.callback(self._end, supervisor, cluster)
        admin = Administration(cluster.sockets, reservation.port)
        if self._archive is None:
            service_databases.close_to_public(admin)
        running = _Running(cluster, supervisor, reservation.port, admin)
        self._running = running
        self._give_passwords(self.login_roles)
        return running

    def _give_passwords(self, roles: Sequence[str]) -> None:
        passwords = {role: new_password() for role in roles}
        service_databases.set_passwords(self.admin, passwords.items())
        self._passwords |= passwords

    def _end(self, supervisor: Supervisor, cluster: Cluster) -> None:
        try:
            supervisor[self.name].check()
        finally:
            supervisor.remove(self.name)
            clear_after_unclean_end(cluster.data)
