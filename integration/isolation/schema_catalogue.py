"""What Postgres' catalogue says of one database, as far as isolation depends on it."""

# ruff: noqa: S608 -- the statements are put together from constants of this module

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

Row = Mapping[str, object]
# Runs one statement in a database, as superuser.
Fetch = Callable[[str, str], Sequence[Row]]

_OURS: Final = "n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema'"
# A superuser may do everything; it is reported once, for being one.
_LOGINS: Final = "r.rolcanlogin and not r.rolsuper"

_RELATIONS: Final = f"""
select c.oid::int8 as oid, n.nspname::text as schema, c.relname::text as name,
    c.relkind::text as kind, c.relrowsecurity as enabled, c.relforcerowsecurity as forced,
    coalesce(c.reloptions, '{{}}') as options,
    array(select a.attname::text from pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f') and {_OURS} order by 2, 3
"""
_POLICIES: Final = """
select polrelid::int8 as relation, polname::text as name, polcmd::text as command,
    pg_get_expr(polqual, polrelid) as using, pg_get_expr(polwithcheck, polrelid) as check
from pg_policy order by 1, 2
"""
_INDEXES: Final = """
select i.indrelid::int8 as relation, c.relname::text as name, i.indisunique as is_unique,
    coalesce(a.attname::text, '') as leads_with
from pg_index i join pg_class c on c.oid = i.indexrelid
left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
order by 1, 2
"""
_FOREIGN_KEYS: Final = """
select k.conrelid::int8 as relation, k.conname::text as name, a.attname::text as leads_with,
    b.attname::text as leads_to
from pg_constraint k
join pg_attribute a on a.attrelid = k.conrelid and a.attnum = k.conkey[1]
join pg_attribute b on b.attrelid = k.confrelid and b.attnum = k.confkey[1]
where k.contype = 'f' order by 1, 2
"""
_FUNCTIONS: Final = f"""
select n.nspname::text as schema, p.oid::regprocedure::text as name
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where p.prosecdef and {_OURS} order by 1, 2
"""
# A role sees a sequence by a right on it, or by reading a column that it feeds.
_SEQUENCES: Final = f"""
select n.nspname::text as schema, c.relname::text as name, r.rolname::text as role
from pg_class c join pg_namespace n on n.oid = c.relnamespace
cross join pg_roles r
left join pg_depend d on d.objid = c.oid and d.classid = 'pg_class'::regclass
    and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i') and d.refobjsubid > 0
where c.relkind = 'S' and {_OURS} and {_LOGINS}
    and (has_sequence_privilege(r.oid, c.oid, 'USAGE, SELECT, UPDATE')
        or (d.refobjid is not null
            and has_column_privilege(r.oid, d.refobjid, d.refobjsubid::int2, 'SELECT')))
order by 1, 2, 3
"""
_RIGHTS: Final = f"""
select r.rolname::text as role, n.nspname::text as schema, c.relname::text as name, w.word as right
from pg_class c join pg_namespace n on n.oid = c.relnamespace
cross join pg_roles r
cross join (values ('TRUNCATE'), ('REFERENCES'), ('TRIGGER'), ('MAINTAIN')) as w (word)
where c.relkind in ('r', 'p', 'v', 'm', 'f') and {_OURS} and {_LOGINS}
    and (has_table_privilege(r.oid, c.oid, w.word)
        or (w.word = 'REFERENCES' and has_any_column_privilege(r.oid, c.oid, w.word)))
order by 1, 2, 3, 4
"""
_CREATORS: Final = f"""
select r.rolname::text as role, 'schema ' || n.nspname as place
from pg_namespace n cross join pg_roles r
where {_OURS} and {_LOGINS} and has_schema_privilege(r.oid, n.oid, 'CREATE')
union all
select r.rolname::text, 'database' from pg_roles r
where {_LOGINS} and has_database_privilege(r.oid, current_database(), 'CREATE, TEMPORARY')
order by 1, 2
"""
# Large objects are rows of one table that has no row-level security, and numbers find them.
_LARGE_OBJECTS: Final = f"""
select r.rolname::text as role, p.oid::regprocedure::text as function
from pg_proc p cross join pg_roles r
where p.pronamespace = 'pg_catalog'::regnamespace and p.proname ~ '^lo(_|read$|write$)'
    and {_LOGINS} and has_function_privilege(r.oid, p.oid, 'EXECUTE')
union all
select 'PUBLIC', p.oid::regprocedure::text from pg_proc p,
    aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as a
where p.pronamespace = 'pg_catalog'::regnamespace and p.proname ~ '^lo(_|read$|write$)'
    and a.grantee = 0 and a.privilege_type = 'EXECUTE'
order by 1, 2
"""
_ROLES: Final = """
select r.rolname::text as name, r.rolsuper as superuser, r.rolbypassrls as bypasses,
    r.rolcreaterole or r.rolcreatedb or r.rolreplication as administers,
    exists (select from pg_shdepend d where d.refclassid = 'pg_authid'::regclass
        and d.refobjid = r.oid and d.deptype = 'o')
        or exists (select from pg_database d where d.datdba = r.oid) as owns,
    array(select o.rolname::text from pg_roles o
        where o.oid <> r.oid and not r.rolsuper and pg_has_role(r.oid, o.oid, 'MEMBER')
        and (exists (select from pg_shdepend d where d.refclassid = 'pg_authid'::regclass
                and d.refobjid = o.oid and d.deptype = 'o')
            or exists (select from pg_database d where d.datdba = o.oid))) as owners
from pg_roles r where r.rolcanlogin order by 1
"""


@dataclass(frozen=True)
class Policy:
    """One policy; `command` is r, a, w, d or * (all), the expressions None where it has none."""

    name: str
    command: str
    using: str | None
    check: str | None


@dataclass(frozen=True)
class Index:
    """One index, a primary key's included; `leads_with` is empty for an expression."""

    name: str
    unique: bool
    leads_with: str


@dataclass(frozen=True)
class ForeignKey:
    """The first column of a foreign key, and the one that it refers to."""

    name: str
    leads_with: str
    leads_to: str


@dataclass(frozen=True)
class Relation:
    """A table, view, materialised view or foreign table (`kind` as pg_class.relkind)."""

    schema: str
    name: str
    kind: str
    enabled: bool
    forced: bool
    options: tuple[str, ...]
    columns: tuple[str, ...]
    policies: tuple[Policy, ...]
    indexes: tuple[Index, ...]
    foreign_keys: tuple[ForeignKey, ...]


@dataclass(frozen=True)
class LoginRole:
    """A role that may log in; `owners` are the roles it is a member of that own anything."""

    name: str
    superuser: bool
    bypasses: bool
    administers: bool
    owns: bool
    owners: tuple[str, ...]


@dataclass(frozen=True)
class Catalogue:
    """One database. Roles are the whole cluster's."""

    database: str
    relations: tuple[Relation, ...]
    security_definers: tuple[str, ...]
    sequences: tuple[tuple[str, str], ...]
    """Sequences and the login roles that see them."""
    rights: tuple[tuple[str, str, str], ...]
    """Login roles, relations, and rights that no service needs."""
    creators: tuple[tuple[str, str], ...]
    """Login roles, and where they may create objects."""
    large_objects: tuple[tuple[str, str], ...]
    """Login roles, or PUBLIC, and the functions on large objects that they may execute."""
    roles: tuple[LoginRole, ...]


def read_catalogue(fetch: Fetch, database: str) -> Catalogue:
    """Reads all of it; system schemas are left out."""

    def rows(sql: str) -> Sequence[Row]:
        return fetch(sql, database)

    def qualified(row: Row) -> str:
        return f"{row['schema']}.{row['name']}"

    return Catalogue(
        database=database,
        relations=_relations(rows),
        security_definers=tuple(qualified(row) for row in rows(_FUNCTIONS)),
        sequences=tuple((qualified(row), str(row["role"])) for row in rows(_SEQUENCES)),
        rights=tuple(
            (str(row["role"]), qualified(row), str(row["right"])) for row in rows(_RIGHTS)
        ),
        creators=tuple((str(row["role"]), str(row["place"])) for row in rows(_CREATORS)),
        large_objects=tuple(
            (str(row["role"]), str(row["function"])) for row in rows(_LARGE_OBJECTS)
        ),
        roles=tuple(
            LoginRole(
                name=str(row["name"]),
                superuser=bool(row["superuser"]),
                bypasses=bool(row["bypasses"]),
                administers=bool(row["administers"]),
                owns=bool(row["owns"]),
                owners=_words(row["owners"]),
            )
            for row in rows(_ROLES)
        ),
    )


def _relations(rows: Callable[[str], Sequence[Row]]) -> tuple[Relation, ...]:
    policies, indexes, keys = rows(_POLICIES), rows(_INDEXES), rows(_FOREIGN_KEYS)

    def of(parts: Sequence[Row], relation: Row) -> list[Row]:
        return [part for part in parts if part["relation"] == relation["oid"]]

    return tuple(
        Relation(
            schema=str(row["schema"]),
            name=str(row["name"]),
            kind=str(row["kind"]),
            enabled=bool(row["enabled"]),
            forced=bool(row["forced"]),
            options=_words(row["options"]),
            columns=_words(row["columns"]),
            policies=tuple(
                Policy(str(p["name"]), str(p["command"]), _text(p["using"]), _text(p["check"]))
                for p in of(policies, row)
            ),
            indexes=tuple(
                Index(str(i["name"]), bool(i["is_unique"]), str(i["leads_with"]))
                for i in of(indexes, row)
            ),
            foreign_keys=tuple(
                ForeignKey(str(k["name"]), str(k["leads_with"]), str(k["leads_to"]))
                for k in of(keys, row)
            ),
        )
        for row in rows(_RELATIONS)
    )


def _words(value: object) -> tuple[str, ...]:
    return tuple(str(word) for word in cast("Sequence[object]", value))


def _text(value: object) -> str | None:
    return None if value is None else str(value)
