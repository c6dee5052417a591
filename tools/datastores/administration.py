"""Statements of the superuser, over the socket that only the server's user and root can reach."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import asyncpg

from tools.datastores.errors import AdministrationError

Result = TypeVar("Result")

_CONNECT_LIMIT_SECONDS = 10.0
_STATEMENT_LIMIT_SECONDS = 60.0
SUPERUSER = "postgres"


class Administration:
    """Runs SQL as superuser, a connection for each call.

    The calls block, and may be made inside of a running event loop: the driver has a loop of its
    own in another thread.
    """

    def __init__(self, socket_folder: Path, port: int) -> None:
        self.socket_folder = socket_folder
        self._port = port

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Runs statements one after the other, each in a transaction of its own."""

        async def run(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
            for statement in statements:
                await connection.execute(statement)

        self._run(run, database)

    def fetch(
        self, sql: str, *arguments: object, database: str = "postgres"
    ) -> list[dict[str, object]]:
        """The rows of one statement, whose parameters are ``$1`` and so on."""

        async def run(connection: "asyncpg.Connection[asyncpg.Record]") -> list[dict[str, object]]:
            return [dict(row) for row in await connection.fetch(sql, *arguments)]

        return self._run(run, database)

    def dsn(self, database: str = "postgres", role: str = SUPERUSER) -> str:
        """What ``asyncpg.connect`` takes, for a role that may log in by the socket."""
        return f"postgresql://{role}@/{database}?{self._query()}"

    def url(self, database: str = "postgres", role: str = SUPERUSER) -> str:
        """What SQLAlchemy takes, for a role that may log in by the socket."""
        return f"postgresql+asyncpg://{role}@/{database}?{self._query()}"

    def _query(self) -> str:
        return f"host={quote(str(self.socket_folder))}&port={self._port}"

    def _run(
        self,
        work: Callable[["asyncpg.Connection[asyncpg.Record]"], Coroutine[None, None, Result]],
        database: str,
    ) -> Result:
        async def connected() -> Result:
            connection = await asyncpg.connect(
                self.dsn(database),
                timeout=_CONNECT_LIMIT_SECONDS,
                command_timeout=_STATEMENT_LIMIT_SECONDS,
            )
            try:
                return await work(connection)
            finally:
                await connection.close(timeout=_CONNECT_LIMIT_SECONDS)

        try:
            with ThreadPoolExecutor(1, thread_name_prefix="administration") as thread:
                return thread.submit(asyncio.run, connected()).result()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise AdministrationError(f"{type(error).__name__}: {error}") from error
