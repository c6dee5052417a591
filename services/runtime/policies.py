"""Row-level security as SQL statements for migrations: who may do what to which rows.

Policies compare by the kind of the bound scope, and an absent or empty setting matches nothing.
Every table gets a policy for each command; a command that nobody may use gets `false` and no grant.
The owner is subject to its own policies (FORCE), so back-fills go through `migrations.backfill`.

Each function gives a list of statements, in order, for `migrations.execute`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from contracts.context import ScopeKind

SCOPE_COLUMNS: Final = ("tenant_id", "user_id", "thread_id")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,50}")  # leaves room for suffixes within 63 bytes

_COLUMNS_OF_KIND: Final[Mapping[ScopeKind, tuple[str, ...]]] = {
    ScopeKind.USER: ("tenant_id", "user_id"),
    ScopeKind.THREAD: ("tenant_id", "user_id", "thread_id"),
    ScopeKind.TENANT: ("tenant_id",),
    ScopeKind.SYSTEM: ("tenant_id",),
}


@unique
class Command(StrEnum):
    """What a policy is for, as `CREATE POLICY … FOR` and `GRANT` say it."""

    SELECT = "SELECT"
    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


@dataclass(frozen=True, slots=True)
class Lookup:
    """How a scope of kind `login` finds its one row: by a column that only its owner can name.

    With `with_tenant` the tenant must match, too: log-in names are unique within a tenant only.
    """

    column: str
    with_tenant: bool


def setting(name: str) -> str:
    """The bound value of `app.<name>`, NULL where it is absent or empty; read once a statement.

    A setting reads as '' after its first SET LOCAL, which must not become a wildcard.
    """
    return f"(SELECT NULLIF(current_setting('app.{checked_name(name)}', true), ''))"


def secure_table(
    table: str,
    *,
    role: str,
    select: Collection[ScopeKind] = (),
    insert: Collection[ScopeKind] = (),
    update: Collection[ScopeKind] = (),
    delete: Collection[ScopeKind] = (),
    columns: Collection[str] = SCOPE_COLUMNS,
    lookup: Lookup | None = None,
) -> list[str]:
    """Puts a table under row-level security, and grants a role exactly what its policies admit.

    Args:
        table: a table that this migration has created.
        role: the service's login role.
        select: the kinds of scope that may read rows; so for the other commands.
        insert: kinds.
        update: kinds; the row must be theirs before and after.
        delete: kinds.
        columns: the scope columns that the table has, of tenant_id, user_id and thread_id.
        lookup: how kind `login` matches, where a command admits it.

    Raises:
        ValueError: a kind is admitted that the table lacks a column for.
    """
    admitted = {
        Command.SELECT: select,
        Command.INSERT: insert,
        Command.UPDATE: update,
        Command.DELETE: delete,
    }
    checked_name(table)
    statements = [
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
        f"REVOKE ALL ON {table} FROM PUBLIC, {checked_name(role)}",
    ]
    for command, kinds in admitted.items():
        condition = _condition(table, frozenset(kinds), frozenset(columns), lookup)
        name = f"{table}_{command.lower()}"
        statements.append(_policy(name, table, command, "PUBLIC", condition, condition))
    if granted := [command for command, kinds in admitted.items() if kinds]:
        statements.append(f"GRANT {', '.join(granted)} ON {table} TO {role}")
    return statements


def admit_role(
    table: str,
    *,
    role: str,
    purpose: str,
    commands: Collection[Command],
    update: Collection[str] = (),
) -> list[str]:
    """Admits a role of a relay or a clean-up to all rows of one table, which serves no user.

    Args:
        table: a table under `secure_table`.
        role: the role; it should have rights on no other table.
        purpose: what the policies are called after: a role may carry a run's name, a policy not.
        commands: what it may do to whole rows.
        update: the columns that it may change, and no other; `FOR UPDATE` asks for one.
    """
    checked_name(role)
    name = f"{checked_name(table)}_{checked_name(purpose)}"
    statements = [
        _policy(f"{name}_{command.lower()}", table, command, role, "true", "true")
        for command in commands
    ]
    if commands:
        statements.append(f"GRANT {', '.join(commands)} ON {table} TO {role}")
    if update:
        columns = ", ".join(checked_name(column) for column in update)
        statements += [
            _policy(f"{name}_update", table, Command.UPDATE, role, "true", "true"),
            f"GRANT UPDATE ({columns}) ON {table} TO {role}",
        ]
    return statements


def checked_name(name: str) -> str:
    """The name itself, when it needs no quoting and is short enough for suffixes.

    Raises:
        ValueError: it is not of lower-case letters, digits and underscores, or over 51 characters.
    """
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"expected a name of up to 51 of [a-z0-9_], got {name!r}")
    return name


def scope_condition(columns: Iterable[str]) -> str:
    """That each of these columns equals its setting."""
    return " AND ".join(f"{checked_name(c)} = {setting(c)}" for c in columns)


def _policy(  # noqa: PLR0917 -- in the order of the statement's own clauses
    name: str, table: str, command: Command, role: str, using: str, check: str
) -> str:
    clauses = {
        Command.SELECT: f"USING ({using})",
        Command.INSERT: f"WITH CHECK ({check})",
        Command.UPDATE: f"USING ({using}) WITH CHECK ({check})",
        Command.DELETE: f"USING ({using})",
    }
    return f"CREATE POLICY {name} ON {table} FOR {command} TO {role} {clauses[command]}"


def _condition(
    table: str, kinds: frozenset[ScopeKind], columns: frozenset[str], lookup: Lookup | None
) -> str:
    """The rows that these kinds may touch; what all of them compare stands first, for the index."""
    if not kinds:
        return "false"
    compared = {kind: _comparisons(table, kind, columns, lookup) for kind in sorted(kinds)}
    common = [
        c for c in next(iter(compared.values())) if all(c in own for own in compared.values())
    ]
    alternatives = [
        " AND ".join([f"{setting('scope_kind')} = '{kind}'", *(c for c in own if c not in common)])
        for kind, own in compared.items()
    ]
    return " AND ".join([*common, f"({' OR '.join(f'({a})' for a in alternatives)})"])


def _comparisons(
    table: str, kind: ScopeKind, columns: frozenset[str], lookup: Lookup | None
) -> list[str]:
    if kind is ScopeKind.LOGIN:
        if lookup is None:
            raise ValueError(f"{table}: kind login needs a Lookup")
        tenant = ("tenant_id",) if lookup.with_tenant else ()
        matched = f"{checked_name(lookup.column)} = {setting('lookup')}"
        return [f"{c} = {setting(c)}" for c in tenant] + [matched]
    needed = _COLUMNS_OF_KIND[kind]
    if missing := [c for c in needed if c not in columns]:
        raise ValueError(f"{table}: kind {kind} compares {', '.join(missing)}, which it lacks")
    return [f"{c} = {setting(c)}" for c in needed]
