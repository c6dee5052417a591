"""Every service's database, as its migrations leave it, holds to every rule."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from integration.isolation.schema_catalogue import Catalogue, Row, read_catalogue
from integration.isolation.schema_rules import (
    Allowance,
    Violation,
    load_allowances,
    unexpected,
    unused,
    violations,
)
from tools.datastores import PostgresServer

SERVICES = ["analytics", "auth", "backend"]
ALLOWANCES = Path(__file__).parents[1] / "schema_allowances.json"


@pytest.fixture(scope="module")
def catalogues(postgres: PostgresServer) -> list[Catalogue]:
    """Every database that a role may connect to."""

    def fetch(sql: str, database: str) -> Sequence[Row]:
        return postgres.admin.fetch(sql, database=database)

    return [read_catalogue(fetch, database) for database in postgres.databases]


@pytest.fixture(scope="module")
def found(catalogues: list[Catalogue]) -> list[Violation]:
    """Whatever breaks a rule."""
    return violations(catalogues)


@pytest.fixture(scope="module")
def allowances() -> list[Allowance]:
    """What may."""
    return load_allowances(ALLOWANCES)


def test_every_service_is_looked_at(catalogues: list[Catalogue]) -> None:
    """The databases are the three services', and each has tables of its own."""
    tables = {
        catalogue.database: [r.name for r in catalogue.relations if r.kind == "r"]
        for catalogue in catalogues
    }

    assert SERVICES == sorted(tables)
    for names in tables.values():
        assert {"trail", "alembic_version"} < set(names)


def test_nothing_breaks_a_rule(found: list[Violation], allowances: list[Allowance]) -> None:
    """Whatever breaks a rule is allowed, with a reason."""
    assert [] == unexpected(found, allowances)


def test_every_allowance_is_needed(found: list[Violation], allowances: list[Allowance]) -> None:
    """An allowance that nothing needs any more is removed."""
    assert [] == unused(found, allowances)


@pytest.mark.parametrize("database", SERVICES)
def test_nobody_reaches_a_table_without_policies(postgres: PostgresServer, database: str) -> None:
    """No login role has any right on Alembic's table, which is why it needs no policies."""
    rows = postgres.admin.fetch(
        "select rolname::text from pg_roles where rolcanlogin and not rolsuper and"
        " (has_table_privilege(oid, 'alembic_version', 'SELECT, INSERT, UPDATE, DELETE')"
        " or has_any_column_privilege(oid, 'alembic_version', 'SELECT, INSERT, UPDATE'))",
        database=database,
    )

    assert [] == rows


def test_service_roles_reach_their_own_database_alone(postgres: PostgresServer) -> None:
    """No login role may connect to another service's database."""
    rows = postgres.admin.fetch(
        "select rolname || ' ' || datname as pair from pg_roles, pg_database where rolcanlogin"
        " and not rolsuper and has_database_privilege(pg_roles.oid, pg_database.oid, 'CONNECT')"
        " and not datistemplate order by 1"
    )

    assert [
        "analytics_service analytics",
        "auth_revocations auth",
        "auth_service auth",
        "backend_relay backend",
        "backend_service backend",
    ] == [row["pair"] for row in rows]
