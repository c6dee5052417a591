"""Every table that holds somebody's rows, and statements that try to reach a row in it.

Read from the catalogue, so that a new table is tried the day it is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sqlalchemy import text

from contracts.context import DataScope
from integration.environment import Environment
from integration.isolation.owners import Owner
from services.runtime.postgres import Database
from services.runtime.postgres_errors import ConstraintViolated, DatabaseError, RowRefused

REFUSED = "refused"
"""What a statement gave that a policy, or the lack of a grant, refused."""

_COLUMNS = """
SELECT c.relname AS table, a.attname AS column, a.attidentity <> '' AS generated
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relkind IN ('r', 'p')
   AND EXISTS (SELECT FROM pg_attribute t WHERE t.attrelid = c.oid AND t.attname = 'tenant_id')
 ORDER BY c.relname, a.attnum
"""


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its columns, and those of them whose values a row cannot be given."""

    service: str
    name: str
    columns: tuple[str, ...]
    generated: frozenset[str]

    def owner_columns(self, owner: Owner) -> dict[str, str]:
        """What says in this table whose a row is."""
        return {name: value for name, value in owner.columns.items() if name in self.columns}

    def rows(self, environment: Environment, owner: Owner) -> list[dict[str, object]]:
        """The owner's rows as a superuser sees them."""
        named = self.owner_columns(owner)
        condition = " and ".join(f"{name} = ${i}" for i, name in enumerate(named, start=1))
        return environment.postgres.admin.fetch(
            f"select * from {self.name} where {condition} order by {self.name}::text",  # noqa: S608 -- from the catalogue
            *named.values(),
            database=self.service,
        )

    def insertion(self, row: Mapping[str, object]) -> str:
        """Inserts a row like this one; its values are parameters by their columns' names."""
        columns = [name for name in row if name not in self.generated]
        values = ", ".join(f":{name}" for name in columns)
        return f"insert into {self.name} ({', '.join(columns)}) values ({values})"  # noqa: S608

    def condition(self, owner: Owner) -> str:
        """Which rows are the owner's; the values are parameters by their columns' names."""
        return " and ".join(f"{name} = :{name}" for name in self.owner_columns(owner))


def owned_tables(environment: Environment, service: str) -> list[Table]:
    """The tables of a service's database that say whose each row is."""
    tables: dict[str, list[tuple[str, bool]]] = {}
    for row in environment.postgres.admin.fetch(_COLUMNS, database=service):
        tables.setdefault(str(row["table"]), []).append(
            (str(row["column"]), bool(row["generated"]))
        )
    return [
        Table(
            service,
            name,
            tuple(column for column, _ in columns),
            frozenset(column for column, generated in columns if generated),
        )
        for name, columns in tables.items()
    ]


async def attempt(
    database: Database,
    scope: DataScope,
    statement: str,
    parameters: Mapping[str, object] = MappingProxyType({}),
    *,
    kept: bool = True,
) -> object:
    """What one statement gives in a transaction under a scope, which commits if it is to be kept.

    Rows as a list of tuples, the number of changed rows where it returns none, `REFUSED`, or the
    constraint or SQLSTATE that it failed by.
    """
    try:
        async with database.transaction(scope) as session:
            result = await session.execute(text(statement), dict(parameters))
            rows = [tuple(row) for row in result.all()] if result.returns_rows else None  # type: ignore[attr-defined]  # of every result of a text
            if not kept:
                await session.rollback()
            return result.rowcount if rows is None else rows  # type: ignore[attr-defined]  # likewise
    except RowRefused:
        return REFUSED
    except ConstraintViolated as error:
        return f"constraint {error.constraint}"
    except DatabaseError as error:
        return f"SQLSTATE {error.sqlstate}"
