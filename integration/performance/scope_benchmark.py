"""`tools/bazel run //integration/performance:scope`: what a scope costs a read and a write."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from contracts.context import DataScope, TenantId, ThreadId, UserId
from integration.environment import Programs
from integration.performance.command import main
from integration.performance.comparison import Comparison, in_turns
from services.runtime.postgres import Database
from tools.datastores import PostgresServer

_ROLE: Final = "backend_service"
_EACH_ROUND: Final = 300
_ROWS: Final = 1_000

# The same table and index, without row-level security, for the same login role.
_UNSCOPED: Final = (
    "CREATE TABLE unscoped (LIKE threads INCLUDING ALL)",
    f"GRANT SELECT, INSERT ON unscoped TO {_ROLE}",
)
_FILL: Final = """
    INSERT INTO {table} (tenant_id, user_id, thread_id, title, created_at)
    SELECT 'tenant', 'user-' || number % 10, 'thread-' || number, 'title', now()
    FROM generate_series(1, $1::int) AS number
"""
_READ: Final = (
    "SELECT title FROM {table}"
    " WHERE tenant_id = 'tenant' AND user_id = 'user-1' AND thread_id = 'thread-1'"
)
_WRITE: Final = (
    "INSERT INTO {table} (tenant_id, user_id, thread_id, title, created_at)"
    " VALUES ('tenant', 'user-1', :thread_id, 'title', now())"
)

Statement = Callable[[str], Awaitable[None]]


async def benchmark(rounds: int) -> Sequence[Comparison]:
    """One transaction with one statement, with its scope bound and checked, and without."""
    with PostgresServer.from_prepared(Programs.built().cluster) as server:
        server.admin.execute(*_UNSCOPED, database="backend")
        for table in ("threads", "unscoped"):
            server.admin.fetch(_FILL.format(table=table), _ROWS, database="backend")
        url = server.url("backend", _ROLE)
        database, plain = Database(url), create_async_engine(url, pool_size=5)

        async def scoped(statement: str) -> None:
            thread = ThreadId(secrets.token_hex(8))
            scope = DataScope.thread(
                TenantId("tenant"),
                UserId("user-1"),
                ThreadId("thread-1") if "SELECT" in statement else thread,
            )
            async with database.transaction(scope) as session:
                await session.execute(
                    text(statement.format(table="threads")), {"thread_id": thread}
                )

        async def unscoped(statement: str) -> None:
            async with plain.begin() as connection:
                await connection.execute(
                    text(statement.format(table="unscoped")), {"thread_id": secrets.token_hex(8)}
                )

        try:
            return [
                await _compared(name, statement, scoped, unscoped, rounds)
                for name, statement in (("read", _READ), ("write", _WRITE))
            ]
        finally:
            await database.dispose()
            await plain.dispose()


async def _compared(
    name: str, statement: str, scoped: Statement, unscoped: Statement, rounds: int
) -> Comparison:
    async def timed(execute: Statement) -> float:
        started = time.perf_counter()
        for _ in range(_EACH_ROUND):
            await execute(statement)
        return (time.perf_counter() - started) / _EACH_ROUND

    samples = await in_turns(
        {"unscoped": lambda: timed(unscoped), "scoped": lambda: timed(scoped)}, rounds
    )
    return Comparison(
        name=f"scoped-{name}",
        question=f"What does a scope cost a {name}?",
        baseline="unscoped",
        samples=samples,
        notes=(
            f"each round: {_EACH_ROUND} transactions of one statement, one after the other",
            "scoped: the scope bound in its transaction, and compared by row-level security",
            "unscoped: the same table without policies, by SQLAlchemy alone",
        ),
    )


if __name__ == "__main__":
    sys.exit(main("scope", "Scoped statements against unscoped ones.", benchmark, sys.argv[1:]))
