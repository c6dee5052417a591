"""Rows of another thread, user or tenant, on the running system's own databases.

The services' own `Database`, under their login roles, on rows that the services wrote.
"""

from __future__ import annotations

from typing import Final

import pytest
from sqlalchemy import text

from contracts.context import DataScope, ThreadId
from integration.environment import SERVICES, Environment
from integration.isolation.owners import Owner, Owners, reply
from integration.isolation.tables import REFUSED, Table, attempt, owned_tables
from services.runtime.postgres import Database
from services.runtime.postgres_errors import RowRefused

pytest_plugins = ["integration.fixtures.plugin", "integration.isolation.storage_fixtures"]
pytestmark = [pytest.mark.integration, pytest.mark.real_services]

# Each gives text of whatever rows it sees, by another way of asking.
READS: Final = {
    "plain": "select content from messages",
    "by thread": "select content from messages where thread_id = any(:threads)",
    "subquery": "select (select string_agg(content, ' ') from messages)",
    "in": "select content from messages where run_id in (select run_id from messages)",
    "exists": "select content from messages m where exists (select from threads t"
    " where t.thread_id = m.thread_id)",
    "cte": "with seen as materialized (select * from messages) select content from seen",
    "recursive": "with recursive seen(content, n) as (select content, 1 from messages union"
    " select m.content, n + 1 from messages m, seen where n < 2) select content from seen",
    "join": "select m.content, t.title from threads t left join messages m using (thread_id)",
    "full join": "select m.content, t.title from threads t full join messages m using (thread_id)",
    "lateral": "select l.content from threads t cross join lateral"
    " (select content from messages) l",
    "union": "select content from events union all select content from messages",
    "window": "select first_value(content) over (order by content) from messages",
    "aggregate": "select array_agg(content), min(content), max(content) from messages",
    "json": "select jsonb_agg(to_jsonb(m)) from messages m",
    "whole row": "select m::text from messages m",
    "ordered": "select content from messages order by content desc limit 100",
    "sample": "select content from messages tablesample system (100)",
    "locking": "select title || ' ' || thread_id from threads for update skip locked",
    "returning": "update threads set title = title returning title",
    "modifying cte": "with done as (update threads set title = title returning *)"
    " select title from done",
}


def _tables_with_rows(
    environment: Environment, service: str, owner: Owner
) -> list[tuple[Table, list[dict[str, object]]]]:
    """Every table that says whose its rows are, and the owner's rows; each has one at least."""
    found = [
        (table, table.rows(environment, owner)) for table in owned_tables(environment, service)
    ]
    assert [] == [table.name for table, rows in found if not rows]
    assert found
    return found


@pytest.mark.parametrize("service", SERVICES)
async def test_no_row_of_another_is_read(
    environment: Environment, owners: Owners, databases: dict[str, Database], service: str
) -> None:
    """No foreign scope of any kind reads a row of any table, whether it asks for it or for all."""
    seen = []
    for table, rows in _tables_with_rows(environment, service, owners.owner):
        condition = table.condition(owners.owner)
        for name, scope in owners.foreign_scopes().items():
            asked = await attempt(
                databases[service],
                scope,
                f"select * from {table.name} where {condition}",  # noqa: S608 -- from the catalogue
                owners.owner.columns,
            )
            everything = await attempt(databases[service], scope, f"select * from {table.name}")  # noqa: S608
            own = [tuple(row.values()) for row in rows]
            met = [row for row in own if everything != REFUSED and row in everything]  # type: ignore[operator]
            if asked not in ([], REFUSED) or met:
                seen.append((table.name, name))

    assert [] == seen


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("statement", ["update", "delete", "take"])
async def test_no_row_of_another_is_changed(
    environment: Environment,
    owners: Owners,
    databases: dict[str, Database],
    service: str,
    statement: str,
) -> None:
    """No foreign scope updates, deletes or takes a row; those there were are as before."""
    changed = []
    for table, rows in _tables_with_rows(environment, service, owners.owner):
        sql = {
            "update": f"update {table.name} set tenant_id = tenant_id",  # noqa: S608
            "delete": f"delete from {table.name}",  # noqa: S608
            "take": f"update {table.name} set tenant_id = current_setting('app.tenant_id')",  # noqa: S608
        }[statement]
        for name, scope in owners.foreign_scopes().items():
            gave = await attempt(
                databases[service],
                scope,
                f"{sql} where {table.condition(owners.owner)}",
                owners.owner.columns,
            )
            if gave not in (0, REFUSED):
                changed.append((table.name, name, gave))
        if rows != table.rows(environment, owners.owner):
            changed.append((table.name, "the rows", len(rows)))

    assert [] == changed


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    "ending", ["", " on conflict do nothing", " returning *"], ids=["plain", "upsert", "returning"]
)
async def test_no_row_is_written_for_another(
    environment: Environment,
    owners: Owners,
    databases: dict[str, Database],
    service: str,
    ending: str,
) -> None:
    """A row that says that it is another's is refused, and by the policy: no key is asked first."""
    written = []
    for table, rows in _tables_with_rows(environment, service, owners.owner):
        for name, scope in owners.foreign_scopes().items():
            gave = await attempt(
                databases[service], scope, table.insertion(rows[0]) + ending, rows[0]
            )
            if gave != REFUSED:
                written.append((table.name, name, gave))

    assert [] == written


@pytest.mark.parametrize("service", SERVICES)
async def test_own_row_is_not_given_away(
    environment: Environment, owners: Owners, databases: dict[str, Database], service: str
) -> None:
    """Who may change a row cannot make it another's: it is refused, or nothing is changed."""
    given = []
    for table, _ in _tables_with_rows(environment, service, owners.owner):
        own = table.owner_columns(owners.owner)
        for other in (each for each in owners.others if table.owner_columns(each) != own):
            for scope in (owners.owner.scope, owners.owner.user_scope):
                assignments = ", ".join(f"{n} = :{n}" for n in table.owner_columns(other))
                gave = await attempt(
                    databases[service],
                    scope,
                    f"update {table.name} set {assignments}",  # noqa: S608 -- from the catalogue
                    other.columns,
                )
                if gave not in (0, REFUSED):
                    given.append((table.name, gave))

    assert [] == given


@pytest.mark.parametrize("way", READS)
async def test_every_way_of_asking_gives_own_rows_alone(
    owners: Owners, databases: dict[str, Database], way: str
) -> None:
    """Whoever asks, in whatever way, is shown her own word and nobody else's."""
    words = {owner.word for owner in owners.everybody}
    threads = [owner.thread_id for owner in owners.everybody]
    seen = {}
    for owner in owners.everybody:
        parameters = {"threads": threads} if ":threads" in READS[way] else {}
        gave = str(await attempt(databases["backend"], owner.scope, READS[way], parameters))
        seen[owner.word] = {word for word in words if word in gave}

    assert {word: {word} for word in words} == seen


async def test_counts_and_sums_are_ones_own(owners: Owners, databases: dict[str, Database]) -> None:
    """What an aggregate counts and sums up is the scope's: a thread's, or a tenant's usage."""
    counts = (
        "select (select count(*) from threads), (select count(*) from messages),"
        " (select sum(head_sequence) from threads), (select count(*) from thread_contexts)"
    )
    usage = "select count(*), sum(input_characters) from usage_events"

    for owner in owners.everybody:
        events = 5
        assert [(1, 2, events, 1)] == await attempt(databases["backend"], owner.scope, counts)
        assert [(1, len(owner.word))] == await attempt(databases["analytics"], owner.scope, usage)
    assert [(0, None)] == await attempt(databases["analytics"], owners.owner.user_scope, usage)


@pytest.mark.parametrize(
    "predicate",
    ["1 / (length(content) - length(content)) = 1", "content::integer = 1"],
    ids=["division", "cast"],
)
async def test_condition_that_fails_meets_no_row_of_another(
    environment: Environment, owners: Owners, databases: dict[str, Database], predicate: str
) -> None:
    """A condition runs on own rows alone: without any it cannot fail, and so tells of nobody's."""
    scope = owners.owner.user_scope  # reads no messages
    sql = f"select count(*) from messages where {predicate}"  # noqa: S608 -- above

    gave = await attempt(databases["backend"], scope, sql)
    assert [(0,)] == gave
    assert str(await attempt(databases["backend"], owners.owner.scope, sql)).startswith("SQLSTATE")
    assert environment.postgres.admin.fetch("select from messages limit 1", database="backend")


# What somebody tries with an identifier, her own thread given; a guess of hers is not to be
# distinguished from what exists and is another's.
ORACLES: Final = {
    "message in a thread": (
        "backend",
        (
            "insert into messages"
            " values (:tenant_id, :user_id, :guess, 1000, 'm', 'r', 'user', 'c', now())"
        ),
    ),
    "event in a thread": (
        "backend",
        "insert into events values (:tenant_id, :user_id, :guess, 1000, 't', 'r', 'q', 'c', now())",
    ),
    "session of a thread": (
        "backend",
        (
            "insert into thread_contexts values (:tenant_id, :user_id, :guess, 'r', 1, 'q', now())"
            " on conflict do nothing"
        ),
    ),
    "thread of that name": (
        "backend",
        "insert into threads values (:tenant_id, :user_id, :guess, 'title', 0, now())",
    ),
    "lock": ("backend", "select from threads where thread_id = :guess for update nowait"),
    "advance": ("backend", "update threads set head_sequence = 9 where thread_id = :guess"),
    "usage of that name": (
        "analytics",
        (
            "insert into usage_events values (:tenant_id, :user_id, :guess, :thread_id, 'r', 1, 1,"
            " now())"
        ),
    ),
    "plan": (
        "backend",
        (
            "explain (analyze, costs off, timing off, summary off, buffers off)"
            " select * from messages where thread_id = :guess"
        ),
    ),
    "estimate": ("backend", "explain select * from messages where thread_id = :guess"),
}


@pytest.mark.parametrize("way", ORACLES)
async def test_what_is_anothers_is_what_does_not_exist(
    environment: Environment, owners: Owners, databases: dict[str, Database], way: str
) -> None:
    """Keys, foreign keys, locks and plans answer alike for another's identifier and for none."""
    service, sql = ORACLES[way]
    environment.postgres.admin.execute("analyze", database=service)
    [usage] = environment.postgres.admin.fetch(
        "select usage_id from usage_events where thread_id = $1",
        owners.owner.thread_id,
        database="analytics",
    )
    taken = str(usage["usage_id"]) if service == "analytics" else str(owners.owner.thread_id)
    # A name is taken within one user's own: there is nothing to hide from her other thread.
    guessers = owners.others[1:] if way.endswith("of that name") else owners.others
    for other in guessers:
        answers = []
        for guess in (taken, "0" * len(taken)):
            scope = other.scope
            if way == "thread of that name":
                person = other.person
                scope = DataScope.thread(person.tenant_id, person.user_id, ThreadId(guess))
            parameters = {**other.columns, "guess": guess}
            named = {name: value for name, value in parameters.items() if f":{name}" in sql}
            answers.append(await attempt(databases[service], scope, sql, named, kept=False))

        assert answers[1] == answers[0] or str(answers[1]) == str(answers[0]).replace(
            taken, "0" * len(taken)
        )


@pytest.mark.parametrize(
    "statement",
    [
        "set role {owner}",
        "set session authorization {owner}",
        "alter table messages disable row level security",
        "drop policy messages_select on messages",
        "create policy mine on messages using (true)",
        "create temp table copies as select * from messages",
        "create table copies as select * from messages",
        "create function spy() returns text language sql security definer as 'select 1::text'",
        "truncate messages",
        "copy messages to program 'cat'",
        "select lo_import('/etc/passwd')",
        "select attname, n_distinct from pg_stats where tablename = 'messages'",
    ],
)
async def test_policies_are_not_put_aside(
    environment: Environment, owners: Owners, databases: dict[str, Database], statement: str
) -> None:
    """The login role cannot leave its policies, change them, copy rows or read samples."""
    sql = statement.format(owner=environment.names.role("backend_owner"))
    gave = await attempt(databases["backend"], owners.owner.scope, sql)
    after = await attempt(databases["backend"], owners.same_user.scope, READS["plain"])

    assert gave in (REFUSED, [])
    assert [(owners.same_user.word,), (reply(owners.same_user),)] == after


async def test_row_security_cannot_be_switched_off(
    owners: Owners, databases: dict[str, Database]
) -> None:
    """Where a session says `row_security = off` a query fails instead of seeing more."""
    async with databases["backend"].transaction(owners.owner.scope) as session:
        await session.execute(text("set local row_security = off"))
        with pytest.raises(RowRefused):
            await session.execute(text(READS["plain"]))
