"""Each rule is broken once, on a copy of a real database, and it alone says so."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from contracts.context import ScopeKind
from integration.isolation.schema_catalogue import Row, read_catalogue
from integration.isolation.schema_rules import (
    RULES,
    Allowance,
    Violation,
    load_allowances,
    unexpected,
    unused,
    violations,
)
from services.runtime.policies import secure_table
from tools.datastores import PostgresServer

SUSPECT = "suspect"
_USER = (ScopeKind.USER,)
_TABLE = (
    "create table copies (tenant_id text, user_id text, copy_id text,"
    " primary key (tenant_id, user_id, copy_id))"
)
SOUND = (
    "set role analytics_owner",
    _TABLE,
    *secure_table(
        "copies",
        role="analytics_service",
        select=_USER,
        insert=_USER,
        columns=("tenant_id", "user_id"),
    ),
)

# Rule, what it reports, and the statements that break it. $db is the copy's name.
DEFECTS = [
    (
        "row-security-not-enabled",
        "$db.public.copies",
        ["alter table copies disable row level security"],
    ),
    (
        "row-security-not-forced",
        "$db.public.copies",
        ["alter table copies no force row level security"],
    ),
    (
        "command-without-policy",
        "$db.public.copies.DELETE",
        ["drop policy copies_delete on copies"],
    ),
    (
        "policy-without-using",
        "$db.public.copies.p",
        ["create policy p on copies for select"],
    ),
    (
        "policy-without-using",
        "$db.public.copies.p",
        ["create policy p on copies for update with check (false)"],
    ),
    (
        "policy-without-check",
        "$db.public.copies.p",
        ["create policy p on copies for insert"],
    ),
    (
        "policy-without-check",
        "$db.public.copies.p",
        ["create policy p on copies for all using (false)"],
    ),
    (
        "policy-admits-everything",
        "$db.public.copies.p",
        ["create policy p on copies for select using (true)"],
    ),
    (
        "policy-admits-everything",
        "$db.public.copies.p",
        ["create policy p on copies for update using (false) with check (true)"],
    ),
    (
        "no-index-leads-with-scope",
        "$db.public.copies",
        ["alter table copies drop constraint copies_pkey"],
    ),
    (
        "unique-key-over-scopes",
        "$db.public.copies.over",
        ["create unique index over on copies (copy_id)"],
    ),
    (
        "unique-key-over-scopes",
        "$db.public.copies.over",
        ["create unique index over on copies (lower(copy_id))"],
    ),
    (
        "foreign-key-over-scopes",
        "$db.public.copies.over",
        ["alter table copies add constraint over foreign key (user_id, tenant_id, copy_id)$to"],
    ),
    (
        "foreign-key-over-scopes",
        "$db.public.copies.over",
        ["alter table copies add constraint over foreign key (tenant_id, user_id, copy_id)$to"],
    ),
    (
        "relation-without-row-security",
        "$db.public.shown",
        ["create materialized view shown as select * from copies"],
    ),
    (
        "view-without-security-invoker",
        "$db.public.shown",
        ["create view shown as select * from copies"],
    ),
    (
        "view-without-security-invoker",
        "$db.public.shown",
        ["create view shown with (security_invoker = false) as select * from copies"],
    ),
    (
        "security-definer-function",
        "$db.public.shown()",
        ["create function shown() returns int language sql security definer as 'select 1'"],
    ),
    (
        "shared-visible-sequence",
        f"$db.public.counted by {SUSPECT}",
        ["create sequence counted", f"grant usage on sequence counted to {SUSPECT}"],
    ),
    (
        "shared-visible-sequence",
        "$db.public.copies_number_seq by analytics_service",
        ["alter table copies add number bigint generated always as identity"],
    ),
    *(
        (
            "login-role-with-table-right",
            f"$db.public.copies {right} by {SUSPECT}",
            [f"grant {right} on copies to {SUSPECT}"],
        )
        for right in ("TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")
    ),
    (
        "login-role-with-table-right",
        f"$db.public.copies REFERENCES by {SUSPECT}",
        [f"grant references (copy_id) on copies to {SUSPECT}"],
    ),
    (
        "login-role-may-create",
        f"$db schema public by {SUSPECT}",
        [f"grant create on schema public to {SUSPECT}"],
    ),
    (
        "login-role-may-create",
        f"$db database by {SUSPECT}",
        ["reset role", f"grant temporary on database $db to {SUSPECT}"],
    ),
    (
        "large-object-function",
        f"$db.lo_from_bytea(oid,bytea) by {SUSPECT}",
        ["reset role", f"grant execute on function lo_from_bytea(oid, bytea) to {SUSPECT}"],
    ),
    (
        "login-role-owns",
        f"role {SUSPECT}",
        ["reset role", "create domain kept as text", f"alter domain kept owner to {SUSPECT}"],
    ),
    (
        "login-role-is-member-of-owner",
        f"role {SUSPECT} of analytics_owner",
        ["reset role", f"grant analytics_owner to {SUSPECT}"],
    ),
    (
        "login-role-bypasses-row-security",
        f"role {SUSPECT}",
        ["reset role", f"alter role {SUSPECT} bypassrls"],
    ),
    (
        "login-role-bypasses-row-security",
        f"role {SUSPECT}",
        ["reset role", f"alter role {SUSPECT} superuser"],
    ),
    *(
        ("login-role-administers", f"role {SUSPECT}", ["reset role", f"alter role {SUSPECT} {w}"])
        for w in ("createdb", "createrole", "replication")
    ),
]


@pytest.fixture
def copy(postgres: PostgresServer) -> Iterator[str]:
    """A copy of analytics' database with one sound table more, and a further login role."""
    name = "analytics_copy"
    postgres.create_database(name, template="analytics")
    postgres.create_login_role(SUSPECT)
    postgres.admin.execute(*SOUND, database=name)
    yield name
    postgres.drop_database(name)
    postgres.admin.execute(f"drop owned by {SUSPECT}", f"drop role {SUSPECT}")


def _violations(postgres: PostgresServer, database: str) -> set[Violation]:
    def fetch(sql: str, database: str) -> Sequence[Row]:
        return postgres.admin.fetch(sql, database=database)

    return set(violations([read_catalogue(fetch, database)]))


def test_sound_table_breaks_no_rule(postgres: PostgresServer, copy: str) -> None:
    """What the defects start from is reported by nothing."""
    assert [] == [v for v in _violations(postgres, copy) if "copies" in v.subject]


@pytest.mark.parametrize(("rule", "subject", "statements"), DEFECTS)
def test_defect_is_reported_by_its_rule_alone(
    postgres: PostgresServer, copy: str, rule: str, subject: str, statements: list[str]
) -> None:
    """One defect more gives one violation more: the expected one."""
    before = _violations(postgres, copy)
    names = {"$db": copy, "$to": " references copies (user_id, tenant_id, copy_id)"}
    broken = list(statements)
    for name, value in names.items():
        broken = [statement.replace(name, value) for statement in broken]
    postgres.admin.execute("set role analytics_owner", *broken, database=copy)

    assert {Violation(rule, subject.replace("$db", copy))} == (_violations(postgres, copy) - before)


def test_what_public_may_do_is_reported_of_public_and_of_every_login_role(
    postgres: PostgresServer, copy: str
) -> None:
    """A function on large objects that everybody may execute is reported as such."""
    before = _violations(postgres, copy)
    postgres.admin.execute("grant execute on function lowrite(int, bytea) to public", database=copy)
    after = _violations(postgres, copy) - before

    reported = {f"{copy}.lowrite(integer,bytea) by {who}" for who in ("PUBLIC", SUSPECT)}
    assert {"large-object-function"} == {violation.rule for violation in after}
    assert reported <= {violation.subject for violation in after}


def test_every_rule_has_a_defect() -> None:
    """No rule stands there without having been seen to fail."""
    assert set(RULES) == {rule for rule, _, _ in DEFECTS}


_MEANT = Violation("row-security-not-forced", "a.public.b")


def test_what_is_not_allowed_is_unexpected() -> None:
    """An allowance is for one rule and one object."""
    others = [
        Violation("row-security-not-forced", "a.public.c"),
        Violation("row-security-not-enabled", "a.public.b"),
    ]

    assert others == unexpected([_MEANT, *others], [Allowance(_MEANT, "why")])


def test_allowance_that_nothing_needs_is_unused() -> None:
    """What is allowed and does not happen is told."""
    assert [_MEANT] == unused([], [Allowance(_MEANT, "why")])
    assert [] == unused([_MEANT], [Allowance(_MEANT, "why")])


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"reason": " ", "rules": [_MEANT.rule], "subjects": ["a"]}, "a reason"),
        ({"reason": "why", "rules": ["row-security"], "subjects": ["a"]}, "got row-security"),
        ({"reason": "why", "rules": [_MEANT.rule], "subjects": ["a", "a"]}, "repeated"),
    ],
)
def test_careless_allowance_is_refused(
    tmp_path: Path, entry: dict[str, object], words: str
) -> None:
    """Each allowance has a reason, names a rule that exists, and stands there once."""
    path = tmp_path / "allowances.json"
    path.write_text(json.dumps([entry]), encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        load_allowances(path)
