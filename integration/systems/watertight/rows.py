"""The observer of Postgres: every row of every table, seen past row-level security."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Final

import asyncpg

from contracts.context.carriers.trace import TRACEPARENT_KEY, read_traceparent
from integration.audit import Channel, Observation

TRAIL_TABLE: Final = "trail"
_COLUMNS: Final = {
    "tenant_id": "tenant",
    "user_id": "user",
    "thread_id": "thread",
    "run_id": "run",
    "request_id": "request",
    "trace_id": "trace",
}
_TABLES: Final = """
SELECT n.nspname AS schema, c.relname AS name
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
 ORDER BY 1, 2
"""


async def observe_rows(database: str, dsn: str) -> AsyncIterator[Observation]:
    """Every row of one service's database.

    Args:
        database: its name, for the observations' source.
        dsn: of a superuser, whom no policy hides anything from.
    """
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            for table in await connection.fetch(_TABLES):
                query = f'SELECT * FROM "{table["schema"]}"."{table["name"]}"'  # noqa: S608 -- from the catalogue
                async for row in connection.cursor(query, prefetch=1000):
                    yield _observation(database, table["name"], dict(row))
    finally:
        await connection.close()


def _observation(database: str, table: str, row: Mapping[str, object]) -> Observation:
    attribution = {
        name: str(value)
        for column, name in _COLUMNS.items()
        if (value := row.get(column)) is not None
    }
    traceparent = read_traceparent([(TRACEPARENT_KEY, str(row.get("traceparent") or ""))])
    if traceparent is not None:
        attribution["trace"] = traceparent.trace_id
    channel = Channel.AUDIT_TRAIL if table == TRAIL_TABLE else Channel.POSTGRES_ROWS
    return Observation(
        channel,
        json.dumps({name: _plain(value) for name, value in row.items()}, ensure_ascii=False),
        attribution=attribution,
        # A row that says of nobody whose it is may hold nothing of anybody.
        allowed=None if attribution else (),
        source=f"{database}: table {table}",
    )


def _plain(value: object) -> object:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value)
