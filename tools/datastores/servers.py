"""What a system needs of its servers, whoever runs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import redis

from tools.datastores.names import Names
from tools.datastores.valkey import ValkeyUser
from tools.processes import SupervisedProcess


class Administrator(Protocol):
    """SQL as superuser, a connection for each call; databases by the names that services know."""

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Runs statements one after the other, each in a transaction of its own."""

    def fetch(
        self, sql: str, *arguments: object, database: str = "postgres"
    ) -> list[dict[str, object]]:
        """The rows of one statement, whose parameters are ``$1`` and so on."""
        ...

    def dsn(self, database: str = "postgres") -> str:
        """What ``asyncpg.connect`` takes."""
        ...

    def url(self, database: str = "postgres") -> str:
        """What SQLAlchemy takes."""
        ...


class _Server(Protocol):
    @property
    def host(self) -> str:
        """Where it listens."""
        ...

    @property
    def port(self) -> int:
        """Its TCP port."""
        ...

    @property
    def process(self) -> SupervisedProcess:
        """The server's process. Raises NotOursError where somebody else runs it."""
        ...

    def restart(self) -> None:
        """Stops and starts the server. Raises NotOursError where somebody else runs it."""

    def kill(self) -> None:
        """Ends the server as a crash would. Raises NotOursError where somebody else runs it."""


class Postgres(_Server, Protocol):
    """PostgreSQL. Databases and roles are given by the names that services know."""

    @property
    def admin(self) -> Administrator:
        """SQL as superuser."""
        ...

    @property
    def login_roles(self) -> Sequence[str]:
        """The system's roles that may log in over TCP."""
        ...

    @property
    def databases(self) -> Sequence[str]:
        """The system's databases that roles may connect to."""
        ...

    def password(self, role: str) -> str:
        """A login role's password. Raises KeyError for a role that has none."""
        ...

    def dsn(self, database: str, role: str) -> str:
        """What ``asyncpg.connect`` takes, over TCP, password included."""
        ...

    def url(self, database: str, role: str) -> str:
        """What SQLAlchemy takes, with asyncpg as the driver."""
        ...

    def create_database(self, name: str, template: str | None = None) -> None:
        """A new database: a copy of a service's migrated one, or an empty one."""

    def drop_database(self, name: str) -> None:
        """Drops a database and ends the connections to it."""

    def create_login_role(self, role: str) -> None:
        """A further role that may log in, with a password and no rights."""

    def grant_connect(self, database: str, role: str) -> None:
        """Lets a role connect to a database and use its schema ``public``."""


class Redis(_Server, Protocol):
    """Redis or Valkey. Users are given by the names that services know."""

    @property
    def admin(self) -> redis.Redis:
        """A client with every right."""
        ...

    @property
    def admin_url(self) -> str:
        """The URL of the user with every right."""
        ...

    def add_user(self, name: str, rules: Sequence[str]) -> ValkeyUser:
        """A user with a new password who may do exactly what the rules say."""
        ...

    def strangers(self) -> Sequence[str]:
        """The users whom somebody else's connections are logged in as, one for each connection.

        Figures of the whole server speak for a system only where there are none.
        """
        ...

    def url(self, user: str, database: int = 0) -> str:
        """What ``redis.from_url`` takes. Raises KeyError for an unknown user."""
        ...


class Servers(Protocol):
    """Both servers of one system, and what its things are called there."""

    @property
    def names(self) -> Names:
        """What databases, roles and keys are called on the servers."""
        ...

    @property
    def postgres(self) -> Postgres:
        """The database server."""
        ...

    @property
    def valkey(self) -> Redis:
        """The Redis server."""
        ...
