"""The statements on threads, messages and events. Each runs in a transaction that a scope binds.

A statement names the thread that it asks for; whose thread it may be is row-level security's to
say, by the transaction's scope. What is written names its whole owner, and the policies check that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.context import DataScope, RequestId, RunId, ThreadId, UserExecutionContext
from services.backend.domain import Event, EventPage, Message, MessageRole, Thread

# What one answer holds at most; a gRPC client takes 4 MiB.
MAXIMUM_THREADS: Final = 1_000
MAXIMUM_MESSAGES: Final = 5_000
MAXIMUM_EVENTS: Final = 5_000
MAXIMUM_CONTENT_BYTES: Final = 3 * 1024 * 1024
# What is kept for one client until it has read it. A message is at most 16 KiB, so one fits.
FEW_EVENTS: Final = 250
FEW_CONTENT_BYTES: Final = 256 * 1024

_INSERT_THREAD = text(
    "insert into threads (tenant_id, user_id, thread_id, title, created_at)"
    " values (:tenant_id, :user_id, :thread_id, :title, :created_at)"
)
_LIST_THREADS = text(
    "select thread_id, title, created_at from ("
    " select thread_id, title, created_at from threads"
    " order by created_at desc, thread_id limit :maximum"
    ") as newest order by created_at, thread_id"
)
_HEAD = text("select head_sequence from threads where thread_id = :thread_id")
# Not `for update`: who opens the first session of the thread meanwhile only wants its key to stay.
_LOCK_THREAD = text(
    "select head_sequence from threads where thread_id = :thread_id for no key update"
)
_ADVANCE = text("update threads set head_sequence = :head where thread_id = :thread_id")
_HAS_RUN = text(
    "select exists (select from messages where thread_id = :thread_id and run_id = :run_id)"
    " or exists (select from thread_contexts"
    "  where thread_id = :thread_id and current_run_id = :run_id)"
)
_INSERT_MESSAGE = text(
    "insert into messages"
    " (tenant_id, user_id, thread_id, sequence, message_id, run_id, role, content, created_at)"
    " values (:tenant_id, :user_id, :thread_id, :sequence, :message_id, :run_id, :role, :content,"
    " :created_at)"
)
_INSERT_EVENT = text(
    "insert into events"
    " (tenant_id, user_id, thread_id, sequence, type, run_id, request_id, content, created_at)"
    " values (:tenant_id, :user_id, :thread_id, :sequence, :type, :run_id, :request_id, :content,"
    " :created_at)"
)
# The newest that fit, in order.
_LIST_MESSAGES = text(
    "select message_id, thread_id, run_id, role, content, created_at from ("
    " select *, sum(octet_length(content)) over (order by sequence desc) as bytes from ("
    "  select sequence, message_id, thread_id, run_id, role, content, created_at from messages"
    "  where thread_id = :thread_id order by sequence desc limit :maximum"
    " ) as newest"
    ") as counted where bytes <= :maximum_bytes order by sequence"
)
# The oldest after a sequence number that fit, in order.
_EVENTS_AFTER = text(
    "select sequence, type, thread_id, run_id, request_id, content, created_at from ("
    " select *, sum(octet_length(content)) over (order by sequence) as bytes from ("
    "  select sequence, type, thread_id, run_id, request_id, content, created_at from events"
    "  where thread_id = :thread_id and sequence > :after_sequence"
    "  order by sequence limit :maximum"
    " ) as oldest"
    ") as counted where bytes <= :maximum_bytes order by sequence"
)


async def insert_thread(session: AsyncSession, owner: DataScope, thread: Thread) -> None:
    """Stores a new thread of the owner, with no events yet."""
    await session.execute(
        _INSERT_THREAD,
        {
            **_owner(owner),
            "thread_id": thread.thread_id,
            "title": thread.title,
            "created_at": thread.created_at,
        },
    )


async def list_threads(session: AsyncSession) -> tuple[Thread, ...]:
    """The newest 1,000 threads of the scope's user, oldest first."""
    rows = await session.execute(_LIST_THREADS, {"maximum": MAXIMUM_THREADS})
    return tuple(Thread(ThreadId(row.thread_id), row.title, row.created_at) for row in rows.all())


async def head_sequence(session: AsyncSession, thread_id: ThreadId) -> int | None:
    """The sequence number of the thread's newest event, 0 before the first; `None`: no thread."""
    head: int | None = await session.scalar(_HEAD, {"thread_id": thread_id})
    return head


async def lock_thread(session: AsyncSession, thread_id: ThreadId) -> int | None:
    """Like `head_sequence`, and nobody else's write enters the thread before the commit."""
    head: int | None = await session.scalar(_LOCK_THREAD, {"thread_id": thread_id})
    return head


async def has_run(session: AsyncSession, thread_id: ThreadId, run_id: RunId) -> bool:
    """Whether this run is in the thread now, or was earlier and has left messages there."""
    return bool(await session.scalar(_HAS_RUN, {"thread_id": thread_id, "run_id": run_id}))


async def append(
    session: AsyncSession,
    context: UserExecutionContext,
    *,
    messages: Sequence[tuple[int, Message]],
    events: Sequence[Event],
) -> None:
    """Stores what a run gave, each message beside its place; the last event becomes the head."""
    owner = _owner(context.data_scope)
    await session.execute(
        _INSERT_MESSAGE,
        [{**owner, "sequence": sequence, **_message(message)} for sequence, message in messages],
    )
    await session.execute(_INSERT_EVENT, [{**owner, **_event(event)} for event in events])
    await session.execute(_ADVANCE, {"thread_id": context.thread_id, "head": events[-1].sequence})


async def list_messages(session: AsyncSession, thread_id: ThreadId) -> tuple[Message, ...]:
    """The thread's newest messages, oldest first: at most 5,000, and 3 MiB of content."""
    rows = await session.execute(
        _LIST_MESSAGES,
        {
            "thread_id": thread_id,
            "maximum": MAXIMUM_MESSAGES,
            "maximum_bytes": MAXIMUM_CONTENT_BYTES,
        },
    )
    return tuple(
        Message(
            message_id=row.message_id,
            thread_id=ThreadId(row.thread_id),
            run_id=RunId(row.run_id),
            role=MessageRole(row.role),
            content=row.content,
            created_at=row.created_at,
        )
        for row in rows.all()
    )


async def events_after(
    session: AsyncSession, thread_id: ThreadId, after_sequence: int, *, few: bool = False
) -> EventPage | None:
    """The thread's first events after a sequence number; `None` where there is no thread.

    At most 5,000 and 3 MiB of content, or 250 and 256 KiB where they are to be few: where the last
    one is not the head, there are more.
    """
    head = await head_sequence(session, thread_id)
    if head is None:
        return None
    if head <= after_sequence:
        return EventPage((), head)
    rows = await session.execute(
        _EVENTS_AFTER,
        {
            "thread_id": thread_id,
            "after_sequence": after_sequence,
            "maximum": FEW_EVENTS if few else MAXIMUM_EVENTS,
            "maximum_bytes": FEW_CONTENT_BYTES if few else MAXIMUM_CONTENT_BYTES,
        },
    )
    events = tuple(_to_event(row) for row in rows.all())
    # A run that was committed between the two statements is newer than the head that was read.
    return EventPage(events, max(head, events[-1].sequence if events else 0))


def _to_event(row: Row[tuple[object, ...]]) -> Event:
    return Event(
        sequence=row.sequence,
        type=row.type,
        thread_id=ThreadId(row.thread_id),
        run_id=RunId(row.run_id),
        request_id=RequestId(row.request_id),
        content=row.content,
        created_at=row.created_at,
    )


def _owner(scope: DataScope) -> dict[str, str | None]:
    return {
        "tenant_id": scope.tenant_id,
        "user_id": scope.user_id,
        "thread_id": scope.thread_id,
    }


def _message(message: Message) -> dict[str, object]:
    return {
        "message_id": message.message_id,
        "run_id": message.run_id,
        "role": str(message.role),
        "content": message.content,
        "created_at": message.created_at,
    }


def _event(event: Event) -> dict[str, object]:
    return {
        "sequence": event.sequence,
        "type": event.type,
        "run_id": event.run_id,
        "request_id": event.request_id,
        "content": event.content,
        "created_at": event.created_at,
    }
