"""Migrations of one service's database, by Alembic, without an ini file or an env.py.

A service's `migrations` folder holds `revision_0001.py` and so on, each with `revision`,
`down_revision`, `upgrade()` and `downgrade()`. They run as the owner, which owns every table and is
subject to row-level security itself.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from alembic import op
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import ARRAY, Connection, Text, bindparam, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from services.runtime.policies import checked_name, scope_condition

# Two migrations at once wait for each other; any number will do, if it is always the same.
_LOCK: Final = 7_305_216_902
_SERVICE_SUFFIX: Final = "_service"


def run_migrations(directory: Path, url: str | None = None) -> None:
    """Brings the database to the newest revision, each in a transaction of its own.

    Args:
        directory: the folder with the revisions.
        url: of the database under its owner's role; DATABASE_URL from the environment without one.
    """
    asyncio.run(_run(directory, url or os.environ["DATABASE_URL"]))


def service_role() -> str:
    """The login role that the migrations grant rights to: SERVICE_ROLE from the environment."""
    return checked_name(os.environ["SERVICE_ROLE"])


def further_role(purpose: str) -> str:
    """Another login role of the service: called as the service's own, with its purpose at the end.

    On servers that systems share, roles carry a system's name; nothing is spelt out here.

    Raises:
        ValueError: SERVICE_ROLE does not end in `_service`.
    """
    role = service_role()
    if not role.endswith(_SERVICE_SUFFIX):
        raise ValueError(f"SERVICE_ROLE: expected a name that ends in {_SERVICE_SUFFIX}")
    return checked_name(f"{role.removesuffix(_SERVICE_SUFFIX)}_{purpose}")


def execute(statements: Iterable[str]) -> None:
    """Runs statements in the current revision, one after the other."""
    connection = op.get_bind()
    for statement in statements:
        connection.exec_driver_sql(statement)


def backfill(table: str, *, scope_columns: Collection[str], statement: str) -> int:
    """Runs a data migration scope by scope, in the current revision; gives the rows it changed.

    The owner sees no row without a scope, so a plain UPDATE in a migration changes nothing, and
    says nothing. Here the statement runs once in each scope that has rows, and can touch no other,
    whatever it says.

    Args:
        table: the table to change.
        scope_columns: of tenant_id, user_id and thread_id those that make a scope; none is NULL.
        statement: an UPDATE or DELETE of that table.
    """
    return backfill_on(
        op.get_bind(), table, scope_columns=tuple(scope_columns), statement=statement
    )


def backfill_on(
    connection: Connection, table: str, *, scope_columns: Collection[str], statement: str
) -> int:
    """`backfill` on a connection of one's own, which must be in a transaction under the owner."""
    columns = ", ".join(checked_name(column) for column in scope_columns)
    with _owner_policy(connection, table, "SELECT", "USING (true)"):
        scopes = connection.exec_driver_sql(
            f"SELECT {columns} FROM {checked_name(table)} GROUP BY {columns} ORDER BY {columns}"  # noqa: S608 -- checked names
        ).all()
    condition = scope_condition(scope_columns)
    changed = 0
    with _owner_policy(connection, table, "ALL", f"USING ({condition}) WITH CHECK ({condition})"):
        for scope in scopes:
            if None in scope:
                raise ValueError(f"{table}: expected every row to have {columns}")
            bound = {
                f"app.{column}": value for column, value in zip(scope_columns, scope, strict=True)
            }
            _bind(connection, bound)
            changed += connection.exec_driver_sql(statement).rowcount
        _bind(connection, dict.fromkeys((f"app.{column}" for column in scope_columns), ""))
    return changed


@contextmanager
def _owner_policy(connection: Connection, table: str, command: str, clauses: str) -> Iterator[None]:
    """Admits the owner for a moment; the transaction takes it back when anything fails."""
    connection.exec_driver_sql(
        f"CREATE POLICY backfill ON {checked_name(table)} FOR {command} TO CURRENT_USER {clauses}"
    )
    yield
    connection.exec_driver_sql(f"DROP POLICY backfill ON {table}")


def _bind(connection: Connection, settings: dict[str, str]) -> None:
    connection.execute(
        text("SELECT set_config(n, v, true) FROM unnest(:names, :texts) AS s(n, v)").bindparams(
            bindparam("names", type_=ARRAY(Text)), bindparam("texts", type_=ARRAY(Text))
        ),
        {"names": list(settings), "texts": list(settings.values())},
    )


async def _run(directory: Path, url: str) -> None:
    engine = create_async_engine(url, poolclass=NullPool, hide_parameters=True)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_upgrade, directory)
            await connection.commit()
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, directory: Path) -> None:
    connection.exec_driver_sql(f"SELECT pg_advisory_lock({_LOCK})")
    connection.commit()
    script = ScriptDirectory(str(directory), version_locations=[str(directory)])

    def revisions(
        current: str | Collection[str] | None, _context: MigrationContext
    ) -> list[RevisionStep]:
        return list(script._upgrade_revs("head", current))  # type: ignore[arg-type]  # noqa: SLF001 -- as Alembic's own documentation does

    with EnvironmentContext(Config(), script, fn=revisions) as environment:
        environment.configure(connection=connection, transaction_per_migration=True)
        with environment.begin_transaction():
            environment.run_migrations()
