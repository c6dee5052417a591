"""The operations on threads, on a real Postgres and Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from contracts.context import (
    MEMBER_SCOPES,
    DataScope,
    Principal,
    RunId,
    Scope,
    ScopeDenied,
    TenantId,
    ThreadId,
    UserId,
)
from contracts.context.carriers.entry import read_entry
from services.backend import store
from services.backend.conversations import Conversations
from services.backend.domain import MessageRole
from services.backend.tests.stage import Stage, principal
from services.runtime.calls import EdgeCall
from services.runtime.errors import InvalidArgument, NotFound, ServiceError
from tools.datastores import PostgresServer

ANNA = principal("anna")
BERT = principal("bert")
TWIN = principal("anna", tenant="tenant-b")


async def test_a_message_gets_a_reply_and_five_events_in_order(stage: Stage) -> None:
    """One message is one run: a user's message, the agent's reply, five events without gaps."""
    thread_id = await stage.thread(ANNA)
    sent = await stage.send(thread_id, "hello", ANNA)
    with stage.call(ANNA) as call:
        page = await stage.conversations.list_events(call, thread_id, 0)
        messages = await stage.conversations.list_messages(call, thread_id)

    assert [1, 2, 3, 4, 5] == [event.sequence for event in page.events]
    assert [
        ("agent_started", ""),
        ("agent_thinking", "thinking about hello"),
        ("tool_executing", "echo"),
        ("tool_completed", "echo: hello"),
        ("agent_completed", "You said: hello"),
    ] == [(event.type, event.content) for event in page.events]
    assert (5, 5) == (sent.sequence, page.head_sequence)
    assert (sent.message, sent.reply) == messages
    assert [MessageRole.USER, MessageRole.AGENT] == [message.role for message in messages]
    assert {sent.message.run_id} == {event.run_id for event in page.events}
    assert {sent.request_id} == {event.request_id for event in page.events}


async def test_each_message_opens_a_run_unless_it_names_one(stage: Stage) -> None:
    """Without a run another is opened; with the thread's run it is continued."""
    thread_id = await stage.thread()
    first = await stage.send(thread_id)
    second = await stage.send(thread_id)
    with stage.call() as call:
        third = await stage.conversations.send_message(
            call, thread_id, "more", second.message.run_id, usage_by_hop=False
        )

    assert first.message.run_id != second.message.run_id
    assert second.message.run_id == third.message.run_id


async def test_a_session_continues(stage: Stage) -> None:
    """A thread's first session opens a run; asked again, and by a message of that run, it stays."""
    thread_id = await stage.thread()
    with stage.call() as call:
        first = await stage.conversations.open_session(call, thread_id)
        sent = await stage.conversations.send_message(
            call, thread_id, "hello", first.run_id, usage_by_hop=False
        )
        again = await stage.conversations.open_session(call, thread_id)

    assert first.run_id == sent.message.run_id == again.run_id
    assert (0, 5) == (first.head_sequence, again.head_sequence)


async def test_a_session_follows_the_newest_run(stage: Stage) -> None:
    """After a message that opened a run of its own, that run is the session's."""
    thread_id = await stage.thread()
    with stage.call() as call:
        before = await stage.conversations.open_session(call, thread_id)
        sent = await stage.send(thread_id)
        after = await stage.conversations.open_session(call, thread_id)

    assert before.run_id != sent.message.run_id
    assert sent.message.run_id == after.run_id


async def test_concurrent_messages_get_one_order(stage: Stage) -> None:
    """Twenty messages at once to one thread: a hundred events, no number twice, none left out."""
    thread_id = await stage.thread()
    sent = await asyncio.gather(*(stage.send(thread_id, f"message {n}") for n in range(20)))
    with stage.call() as call:
        page = await stage.conversations.list_events(call, thread_id, 0)

    assert list(range(1, 101)) == [event.sequence for event in page.events]
    assert sorted(range(5, 101, 5)) == sorted(one.sequence for one in sent)
    for start in range(0, 100, 5):
        assert 1 == len({event.run_id for event in page.events[start : start + 5]})


OPERATIONS: dict[str, Callable[[Conversations, EdgeCall, ThreadId], Awaitable[object]]] = {
    "send": lambda backend, call, thread_id: backend.send_message(
        call, thread_id, "mine", None, usage_by_hop=True
    ),
    "messages": lambda backend, call, thread_id: backend.list_messages(call, thread_id),
    "events": lambda backend, call, thread_id: backend.list_events(call, thread_id, 0),
    "usage": lambda backend, call, thread_id: backend.thread_usage(call, thread_id),
    "session": lambda backend, call, thread_id: backend.open_session(call, thread_id),
    "follow": lambda backend, call, thread_id: backend.open_thread(call, thread_id, "a.b"),
}


@pytest.mark.parametrize("sent", [0, 1])
async def test_a_session_is_opened_while_a_message_is_written(stage: Stage, sent: int) -> None:
    """Whoever writes holds the thread; who opens its session, the first one too, need not wait.

    Waiting for each other they would both be refused, a second later.
    """
    thread_id = await stage.thread()
    for _ in range(sent):
        await stage.send(thread_id)
    scope = DataScope.thread(TenantId("tenant-a"), UserId("user-a"), thread_id)
    async with stage.database.transaction(scope) as session:
        held = await store.lock_thread(session, thread_id)
        with stage.call() as call:
            opened = await stage.conversations.open_session(call, thread_id)

    assert 5 * sent == held == opened.head_sequence


@pytest.mark.parametrize("stranger", [BERT, TWIN], ids=["same tenant", "same name, other tenant"])
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
async def test_anothers_thread_is_not_found(
    stage: Stage,
    operation: Callable[[Conversations, EdgeCall, ThreadId], Awaitable[object]],
    stranger: Principal,
) -> None:
    """Every operation on another's thread ends as on a thread that does not exist."""
    thread_id = await stage.thread(ANNA)
    await stage.send(thread_id, "secret", ANNA)

    for asked in (thread_id, ThreadId("f" * 32)):
        with stage.call(stranger) as call:
            with pytest.raises(NotFound) as refusal:
                await operation(stage.conversations, call, asked)
            assert "NOT_FOUND: there is no such object" == str(refusal.value)
    with stage.call(stranger) as call:
        assert () == await stage.conversations.list_threads(call)
    with stage.call(ANNA) as call:
        assert 2 == len(await stage.conversations.list_messages(call, thread_id))


async def test_threads_are_listed_for_their_user_alone(stage: Stage) -> None:
    """The list holds the caller's threads, oldest first, and nobody else's."""
    first = await stage.thread(ANNA, "one")
    await stage.thread(BERT, "another's")
    second = await stage.thread(ANNA, "two")
    with stage.call(ANNA) as call:
        threads = await stage.conversations.list_threads(call)

    assert [(first, "one"), (second, "two")] == [(t.thread_id, t.title) for t in threads]


async def test_an_operation_asks_for_its_scope(stage: Stage) -> None:
    """Each operation refuses a caller who lacks its scope, by whichever way she came."""
    thread_id = await stage.thread(ANNA)
    with stage.call(principal("anna", scopes=MEMBER_SCOPES - {Scope.THREADS_WRITE})) as call:
        with pytest.raises(ScopeDenied):
            await stage.conversations.create_thread(call, "title")
        with pytest.raises(ScopeDenied):
            await stage.conversations.send_message(call, thread_id, "x", None, usage_by_hop=False)
    with stage.call(principal("anna", scopes=frozenset({Scope.THREADS_WRITE}))) as call:
        with pytest.raises(ScopeDenied):
            await stage.conversations.list_threads(call)
        with pytest.raises(ScopeDenied):
            await stage.conversations.list_messages(call, thread_id)
        with pytest.raises(ScopeDenied):
            await stage.conversations.list_events(call, thread_id, 0)
        with pytest.raises(ScopeDenied):
            await stage.conversations.thread_usage(call, thread_id)


@pytest.mark.parametrize(
    "message",
    ["", " ", "a\0b", "\ud800", "x" * (16 * 1024 + 1), "ä" * (8 * 1024 + 1)],
    ids=["empty", "blank", "NUL", "lone surrogate", "16 KiB + 1", "16 KiB + 2 in UTF-8"],
)
async def test_a_text_that_is_none_is_refused(stage: Stage, message: str) -> None:
    """What Postgres cannot hold, or is too long, is refused before anything is written."""
    thread_id = await stage.thread()
    with pytest.raises(InvalidArgument):
        await stage.send(thread_id, message)
    with pytest.raises(InvalidArgument):
        await stage.thread(title=message)
    with stage.call() as call:
        page = await stage.conversations.list_events(call, thread_id, 0)

    assert 0 == page.head_sequence


@pytest.mark.parametrize("after", [-1, 2**63, -(2**63)])
async def test_a_sequence_number_that_is_none_is_refused(stage: Stage, after: int) -> None:
    """A number that Postgres' bigint or the protocol does not know is refused."""
    thread_id = await stage.thread()
    with stage.call() as call, pytest.raises(InvalidArgument):
        await stage.conversations.list_events(call, thread_id, after)


async def test_events_continue_after_a_sequence_number(stage: Stage) -> None:
    """Who has had events up to a number gets those after it, and none past the head."""
    thread_id = await stage.thread()
    await stage.send(thread_id)
    with stage.call() as call:
        some = await stage.conversations.list_events(call, thread_id, 3)
        none = await stage.conversations.list_events(call, thread_id, 2**63 - 1)

    assert ([4, 5], 5) == ([event.sequence for event in some.events], some.head_sequence)
    assert ((), 5) == (none.events, none.head_sequence)


async def test_a_transcript_is_kept_and_never_served_stale(stage: Stage) -> None:
    """The second reading comes from Redis; a message makes the next one come from Postgres."""
    thread_id = await stage.thread(ANNA)
    await stage.send(thread_id, "one", ANNA)
    scope = DataScope.thread(ANNA.tenant_id, ANNA.user_id, thread_id)
    with stage.call(ANNA) as call:
        fresh = await stage.conversations.list_messages(call, thread_id)
        kept = await stage.transcripts.get(scope, 5)
        cached = await stage.conversations.list_messages(call, thread_id)
    await stage.send(thread_id, "two", ANNA)
    with stage.call(ANNA) as call:
        newer = await stage.conversations.list_messages(call, thread_id)

    assert (fresh, fresh) == (kept, cached)
    assert ["one", "You said: one", "two", "You said: two"] == [m.content for m in newer]


async def test_transcripts_of_equal_heads_are_kept_apart(stage: Stage) -> None:
    """Threads of one user and of two, each with one message, come back as their own from Redis."""
    threads = [(user, await stage.thread(user)) for user in (ANNA, ANNA, BERT, TWIN)]
    for user, thread_id in threads:
        await stage.send(thread_id, f"of {thread_id}", user)
    for _ in range(2):
        for user, thread_id in threads:
            with stage.call(user) as call:
                messages = await stage.conversations.list_messages(call, thread_id)
            assert f"of {thread_id}" == messages[0].content


async def test_a_message_leaves_one_usage_entry(stage: Stage, postgres: PostgresServer) -> None:
    """The outbox holds the run's usage under the run's context, and no token."""
    thread_id = await stage.thread(ANNA)
    sent = await stage.send(thread_id, "hello", ANNA)
    rows = postgres.admin.fetch("select * from outbox", database=stage.database_name)
    context, entry = read_entry({b"entry": cast("bytes", rows[0]["entry"])})

    assert 1 == len(rows)
    assert (ANNA.tenant_id, ANNA.user_id, thread_id) == (
        context.tenant_id,
        context.user_id,
        context.thread_id,
    )
    assert (sent.message.run_id, sent.request_id) == (context.run_id, context.request_id)
    assert (5, 15) == (entry.event.input_characters, entry.event.output_characters)


async def test_the_trail_says_who_did_what_and_no_content(
    stage: Stage, postgres: PostgresServer
) -> None:
    """Every operation leaves a row; a refused one names the caller and not what she asked for."""
    thread_id = await stage.thread(ANNA, "canary-title")
    await stage.send(thread_id, "canary-message", ANNA)
    with pytest.raises(NotFound):
        await stage.send(thread_id, "canary-other", BERT)
    with stage.call(BERT) as call, pytest.raises(NotFound):
        await stage.conversations.list_events(call, thread_id, 0)
    rows = postgres.admin.fetch(
        "select user_id, thread_id, action, outcome, row_to_json(trail)::text as whole"
        " from trail order by occurred_at",
        database=stage.database_name,
    )

    assert [
        ("anna", thread_id, "threads.create", "ok"),
        ("anna", thread_id, "messages.send", "ok"),
        ("bert", None, "messages.send", "refused"),
        ("bert", None, "events.list", "refused"),
    ] == [(row["user_id"], row["thread_id"], row["action"], row["outcome"]) for row in rows]
    assert "canary" not in "".join(str(row["whole"]) for row in rows)


async def test_a_commit_is_announced_after_it_happened(stage: Stage) -> None:
    """Whoever is woken finds the events: the announcement names the thread and its new head."""
    thread_id = await stage.thread(ANNA)
    await stage.send(thread_id, "one", ANNA)

    assert [(DataScope.thread(TenantId("tenant-a"), UserId("anna"), thread_id), 5)] == (
        stage.committed
    )


async def test_a_run_of_another_thread_cannot_be_continued(stage: Stage) -> None:
    """Another user's run, her own other thread's and one that never was: none is found here."""
    thread_id, beside = await stage.thread(ANNA), await stage.thread(ANNA)
    foreign = await stage.thread(BERT)
    own = await stage.send(thread_id, "one", ANNA)
    runs = [
        (await stage.send(beside, "beside", ANNA)).message.run_id,
        (await stage.send(foreign, "foreign", BERT)).message.run_id,
        RunId("made-up"),
    ]
    for run_id in runs:
        with stage.call(ANNA) as call, pytest.raises(NotFound):
            await stage.conversations.send_message(
                call, thread_id, "more", run_id, usage_by_hop=False
            )
    await stage.send(thread_id, "two", ANNA)
    with stage.call(ANNA) as call:
        earlier = await stage.conversations.send_message(
            call, thread_id, "back to the first", own.message.run_id, usage_by_hop=False
        )
        page = await stage.conversations.list_events(call, thread_id, 0)

    assert (own.message.run_id, 15) == (earlier.message.run_id, earlier.sequence)
    assert not {event.run_id for event in page.events} & set(runs)


async def test_usage_that_analytics_does_not_take_is_no_failure(stage: Stage) -> None:
    """With nobody to take the hop the message is acknowledged all the same; a question fails."""
    thread_id = await stage.thread(ANNA)
    with stage.call(ANNA) as call:
        sent = await stage.conversations.send_message(
            call, thread_id, "hello", None, usage_by_hop=True
        )
        with pytest.raises(ServiceError) as failure:
            await stage.conversations.thread_usage(call, thread_id)

    assert 5 == sent.sequence
    assert "UNAVAILABLE" == failure.value.code.name


async def test_one_answer_holds_a_bounded_amount(stage: Stage) -> None:
    """Answers end at 3 MiB of content: events by their beginning, transcripts by their end."""
    thread_id = await stage.thread()
    message = "x" * (16 * 1024)
    for _ in range(110):
        await stage.send(thread_id, message)
    with stage.call() as call:
        page = await stage.conversations.list_events(call, thread_id, 0)
        messages = await stage.conversations.list_messages(call, thread_id)

    size = 3 * 1024 * 1024
    assert size - 2 * len(message) < sum(len(e.content) for e in page.events) <= size
    assert size - 2 * len(message) < sum(len(m.content) for m in messages) <= size
    assert (1, 550) == (page.events[0].sequence, page.head_sequence)
    assert MessageRole.AGENT is messages[-1].role
