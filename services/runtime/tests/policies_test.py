from __future__ import annotations

import pytest
from sqlalchemy import text

from contracts.context import DataScope, ScopeKind, TenantId
from services.runtime.policies import Command, Lookup, admit_role, secure_table
from services.runtime.postgres import Database
from services.runtime.postgres_errors import RowRefused
from services.runtime.tests.probe import (
    SERVICE,
    Probe,
    add_note,
    add_thread,
    columns,
    notes,
    thread_scope,
    user_scope,
)

_TENANT = TenantId("tenant-1")


@pytest.fixture
async def filled(database: Database) -> Database:
    """Two tenants, two users in the first, two threads of the first user; a note in each."""
    for scope in (
        thread_scope(1),
        thread_scope(2),
        thread_scope(3, user=2),
        thread_scope(4, tenant=2),
    ):
        await add_note(database, scope, f"note-{scope.thread_id}")
    return database


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (thread_scope(1), ["note-thread-1"]),
        (user_scope(), ["note-thread-1", "note-thread-2"]),
        (DataScope.tenant(_TENANT), ["note-thread-1", "note-thread-2", "note-thread-3"]),
        (DataScope.system(_TENANT), []),
        (DataScope.login("user-1-1", _TENANT), []),
        (thread_scope(3), []),
        (user_scope(3), []),
    ],
    ids=["thread", "user", "tenant", "system", "login", "another's thread", "nobody"],
)
async def test_each_kind_reads_its_own(
    filled: Database, scope: DataScope, expected: list[str]
) -> None:
    """A kind reads the rows that it admits to, and a kind that is not admitted reads none."""
    assert expected == await notes(filled, scope)


async def test_row_of_another_scope_cannot_be_written(filled: Database) -> None:
    """WITH CHECK refuses a row whose owner is not the scope, whatever the statement says."""
    hers = {**columns(thread_scope(3, user=2)), "note_id": "n", "body": "b"}
    insert = text("insert into notes values (:tenant_id, :user_id, :thread_id, :note_id, :body, 1)")
    with pytest.raises(RowRefused):
        async with filled.transaction(thread_scope(1)) as session:
            await session.execute(insert, hers)


async def test_row_cannot_be_moved_to_another_scope(filled: Database) -> None:
    """An update must leave the row with its owner."""
    with pytest.raises(RowRefused):
        async with filled.transaction(thread_scope(1)) as session:
            await session.execute(text("update notes set user_id = 'user-1-2'"))


async def test_update_touches_own_rows_only(probe: Probe, filled: Database) -> None:
    """An update without a condition changes the scope's rows and no others."""
    async with filled.transaction(thread_scope(1)) as session:
        await session.execute(text("update notes set body = 'changed'"))

    assert [("note-thread-1",)] == probe.rows("select note_id from notes where body = 'changed'")


@pytest.mark.parametrize(
    "statement",
    [
        "delete from notes",
        "truncate notes",
        "create trigger t before insert on notes execute function lo_manage()",
        "create table copies (like notes)",
        "alter table notes disable row level security",
        "drop policy notes_select on notes",
        "set role probe_owner",
    ],
)
async def test_what_nobody_granted_is_refused(filled: Database, statement: str) -> None:
    """The login role has the rights that its table's policies name, and no others."""
    with pytest.raises(RowRefused):
        async with filled.transaction(thread_scope(1)) as session:
            await session.execute(text(statement))


async def test_delete_admits_its_kind_only(probe: Probe, database: Database) -> None:
    """Where kind thread may delete, a user's scope deletes nothing."""
    for number in (1, 2):
        await add_thread(database, thread_scope(number))
    async with database.transaction(user_scope()) as session:
        await session.execute(text("delete from threads"))
    async with database.transaction(thread_scope(2)) as session:
        await session.execute(text("delete from threads"))

    assert [("thread-1",)] == probe.rows("select thread_id from threads")


async def test_empty_setting_matches_nothing(probe: Probe, filled: Database) -> None:
    """Even a row with empty identifiers is no match for a setting that is absent or empty."""
    probe.server.admin.execute(
        "insert into notes values ('', '', '', 'nobody', 'text', null)", database=probe.name
    )
    found: list[str] = []
    for bound in ("", "thread", "user", "tenant"):
        async with filled.transaction(thread_scope(9, user=9)) as session:
            for name in ("tenant_id", "user_id", "thread_id"):
                await session.execute(text(f"set local app.{name} = ''"))
            await session.execute(text(f"set local app.scope_kind = '{bound}'"))
            found += (await session.scalars(text("select note_id from notes"))).all()

    assert [] == found


async def test_login_matches_one_row_of_its_tenant(probe: Probe, database: Database) -> None:
    """A log-in name is looked up in one tenant; the same name in another one is not seen."""
    probe.server.admin.execute(
        "insert into logins values ('tenant-1', 'u1', 'ada'), ('tenant-2', 'u2', 'ada'),"
        " ('tenant-1', 'u3', 'bob')",
        database=probe.name,
    )
    found = text("select user_id from logins")
    async with database.transaction(DataScope.login("ada", _TENANT)) as session:
        of_tenant = list((await session.scalars(found)).all())
    async with database.transaction(DataScope.login("ada")) as session:
        of_none = list((await session.scalars(found)).all())

    assert ["u1"] == of_tenant
    assert [] == of_none


async def test_login_without_tenant_matches_its_value(probe: Probe, database: Database) -> None:
    """A token finds its row by its hash alone, and a prefix of it finds nothing."""
    probe.server.admin.execute(
        "insert into tokens values ('tenant-1', 'u1', 'hash-1'), ('tenant-2', 'u2', 'hash-2')",
        database=probe.name,
    )
    found = text("select user_id from tokens")
    async with database.transaction(DataScope.login("hash-2")) as session:
        one = list((await session.scalars(found)).all())
    async with database.transaction(DataScope.login("hash-")) as session:
        none = list((await session.scalars(found)).all())

    assert ["u2"] == one
    assert [] == none


def test_kind_needs_its_columns() -> None:
    """A table cannot admit a kind that it has no column for."""
    with pytest.raises(ValueError, match="kind thread compares thread_id"):
        secure_table(
            "t", role=SERVICE, select=(ScopeKind.THREAD,), columns=("tenant_id", "user_id")
        )


def test_login_needs_a_lookup() -> None:
    """A table cannot admit kind login without saying which column is looked up."""
    with pytest.raises(ValueError, match="kind login needs a Lookup"):
        secure_table("t", role=SERVICE, select=(ScopeKind.LOGIN,))


@pytest.mark.parametrize("name", ["t; drop table x", "T", "", "a" * 52, "1a", 'a"b'])
def test_names_need_no_quoting(name: str) -> None:
    """A name that would have to be quoted is refused, in every place."""
    with pytest.raises(ValueError, match="expected a name"):
        secure_table(name, role=SERVICE)
    with pytest.raises(ValueError, match="expected a name"):
        secure_table("t", role=name)
    with pytest.raises(ValueError, match="expected a name"):
        admit_role("t", role=name, purpose="relay", commands=(Command.SELECT,))
    with pytest.raises(ValueError, match="expected a name"):
        admit_role("t", role=SERVICE, purpose=name, commands=(Command.SELECT,))
    with pytest.raises(ValueError, match="expected a name"):
        secure_table(
            "t", role=SERVICE, select=(ScopeKind.LOGIN,), lookup=Lookup(name, with_tenant=False)
        )


def test_every_command_has_a_policy() -> None:
    """What nobody may do is said by a policy of `false`, and granted to nobody."""
    statements = secure_table("t", role=SERVICE, select=(ScopeKind.USER,))

    assert 4 == sum(statement.startswith("CREATE POLICY") for statement in statements)
    assert "CREATE POLICY t_delete ON t FOR DELETE TO PUBLIC USING (false)" in statements
    assert statements[-1] == f"GRANT SELECT ON t TO {SERVICE}"
