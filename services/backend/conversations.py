"""What a user does with her threads: the one path to the data for HTTP, gRPC and WebSocket.

Each operation asks for its scope, works in a transaction bound to the thread or the user that it is
for, and leaves a row in the trail. Another's thread and one that does not exist end alike: nothing
is found under the caller's own scope, and what is logged and kept names the caller alone.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, NoReturn

from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.context import ContextError, DataScope, RunId, Scope, ThreadId
from contracts.context.carriers.entry import make_usage_entry
from contracts.context.identifiers import require
from services.backend import store
from services.backend.agent import run_agent
from services.backend.clients import AnalyticsClient
from services.backend.domain import (
    Event,
    EventPage,
    Message,
    MessageRole,
    SentMessage,
    Thread,
    ThreadSession,
    ThreadUsage,
    require_message,
    require_sequence,
    require_title,
)
from services.backend.transcripts import TranscriptCache
from services.runtime.calls import EdgeCall, new_id
from services.runtime.errors import NotFound, ServiceError, from_error
from services.runtime.outbox import write_outbox
from services.runtime.postgres import Database
from services.runtime.sessions import SessionStore
from services.runtime.trail import Trail, TrailOutcome
from watertight.events.v1.usage_pb2 import UsageEvent

USAGE_HOPS: Final = Counter(
    "watertight_usage_hops",
    "Usage told to analytics by a hop, by status code; the outbox delivers what failed.",
    ("code",),
)

Committed = Callable[[DataScope, int], None]


class Conversations:
    """Threads, messages and runs.

    Args:
        committed: is told of a thread and its new head after every commit; must return at once.
        clock: aware datetimes.
    """

    def __init__(
        self,
        database: Database,
        sessions: SessionStore,
        transcripts: TranscriptCache,
        analytics: AnalyticsClient,
        *,
        committed: Committed,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._transcripts = transcripts
        self._analytics = analytics
        self._committed = committed
        self._clock = clock
        self._trail = Trail()

    async def create_thread(self, call: EdgeCall, title: str) -> Thread:
        """A new thread of the caller.

        Raises:
            InvalidArgument: the title is none.
        """
        call.context.require_scope(Scope.THREADS_WRITE)
        thread = Thread(ThreadId(new_id()), require_title(title), self._clock())
        call = call.under(call.context.narrowed(thread_id=thread.thread_id))
        async with self._database.transaction(call.context.data_scope) as session:
            await store.insert_thread(session, call.context.data_scope, thread)
            await self._record(session, call, "threads.create")
        return thread

    async def list_threads(self, call: EdgeCall) -> tuple[Thread, ...]:
        """The caller's threads, oldest first."""
        call.context.require_scope(Scope.THREADS_READ)
        async with self._database.transaction(call.context.user_scope) as session:
            threads = await store.list_threads(session)
            await self._record(session, call, "threads.list")
        return threads

    async def open_session(self, call: EdgeCall, thread_id: ThreadId) -> ThreadSession:
        """The thread's session: its current run, or a first one where there is none.

        It is the same at every replica and after restarts; a message continues it by its run.

        Raises:
            NotFound: the thread is not the caller's, or does not exist.
        """
        call.context.require_scope(Scope.THREADS_WRITE)
        try:
            opened = await self._sessions.open(
                call.principal, thread_id, request_id=call.context.request_id
            )
        except NotFound:
            await self._refuse(call, "sessions.open")
        call = call.under(opened)
        async with self._database.transaction(opened.data_scope) as session:
            head = await store.head_sequence(session, thread_id)
            await self._record(session, call, "sessions.open")
        return ThreadSession(thread_id, require(RunId, opened.run_id), head or 0)

    async def open_thread(
        self, call: EdgeCall, thread_id: ThreadId, action: str
    ) -> tuple[EdgeCall, int]:
        """The same call in the context of a thread that is the caller's, and the thread's head.

        Raises:
            NotFound: it is not, or does not exist.
        """
        return await self._enter(call, thread_id, Scope.THREADS_READ, action)

    async def send_message(
        self,
        call: EdgeCall,
        thread_id: ThreadId,
        message: str,
        run_id: RunId | None,
        *,
        usage_by_hop: bool,
    ) -> SentMessage:
        """Stores a message and the agent's run on it, in one transaction, and acknowledges it.

        Without a run it opens another one; a run that is given must have been in this thread
        before, for log lines and the trail name the work by its run. The usage goes into the
        outbox in any case; by a hop it reaches analytics before this returns, if it does within
        2 s.

        Raises:
            NotFound: the thread is not the caller's, or does not exist, or has no such run.
            InvalidArgument: the message is none.
        """
        call.context.require_scope(Scope.THREADS_WRITE)
        require_message(message)
        scope = call.context.narrowed(thread_id=thread_id).data_scope
        async with self._database.transaction(scope) as session:
            # Until the commit nobody else writes to the thread: commit order is sequence order.
            head = await store.lock_thread(session, thread_id)
            known = run_id is None or await store.has_run(session, thread_id, run_id)
            done = (
                await self._run(session, call, thread_id, run_id, message=message, head=head)
                if head is not None and known
                else None
            )
        if done is None:
            await self._refuse(call, "messages.send")
        call, sent, usage = done
        self._committed(scope, sent.sequence)
        call.log.info("message acknowledged", sequence=sent.sequence)
        if usage_by_hop:
            await self._tell_usage(call, usage)
        return sent

    async def list_messages(self, call: EdgeCall, thread_id: ThreadId) -> tuple[Message, ...]:
        """The thread's newest messages, oldest first: at most 5,000, and 3 MiB of content.

        Raises:
            NotFound: the thread is not the caller's, or does not exist.
        """
        call, head = await self._enter(call, thread_id, Scope.THREADS_READ, "messages.list")
        scope = call.context.data_scope
        if (kept := await self._cached(call, head)) is not None:
            return kept
        async with self._database.transaction(scope) as session:
            # The head first: what is kept under it is never older than it.
            head = await store.head_sequence(session, thread_id) or 0
            messages = await store.list_messages(session, thread_id)
        await self._keep(call, head, messages)
        return messages

    async def list_events(
        self, call: EdgeCall, thread_id: ThreadId, after_sequence: int
    ) -> EventPage:
        """The thread's first events after a sequence number: at most 5,000, and 3 MiB of content.

        Raises:
            NotFound: the thread is not the caller's, or does not exist.
            InvalidArgument: the sequence number is none.
        """
        require_sequence(after_sequence)
        call, _ = await self._enter(call, thread_id, Scope.THREADS_READ, "events.list")
        async with self._database.transaction(call.context.data_scope) as session:
            page = await store.events_after(session, thread_id, after_sequence)
        if page is None:
            raise NotFound
        return page

    async def thread_usage(self, call: EdgeCall, thread_id: ThreadId) -> ThreadUsage:
        """What the thread's runs consumed.

        Raises:
            NotFound: the thread is not the caller's, or does not exist.
            Unavailable: analytics does not answer.
        """
        call, _ = await self._enter(call, thread_id, Scope.USAGE_READ, "usage.read")
        return await self._analytics.thread_usage(call, thread_id)

    async def _enter(
        self, call: EdgeCall, thread_id: ThreadId, required: Scope, action: str
    ) -> tuple[EdgeCall, int]:
        """The call in the context of a thread that is found to be the caller's, and its head."""
        call.context.require_scope(required)
        context = call.context.narrowed(thread_id=thread_id)
        async with self._database.transaction(context.data_scope) as session:
            head = await store.head_sequence(session, thread_id)
            if head is not None:
                call = call.under(context)
                await self._record(session, call, action)
        if head is None:
            await self._refuse(call, action)
        return call, head

    async def _run(
        self,
        session: AsyncSession,
        call: EdgeCall,
        thread_id: ThreadId,
        run_id: RunId | None,
        *,
        message: str,
        head: int,
    ) -> tuple[EdgeCall, SentMessage, UsageEvent]:
        now = self._clock()
        opened = await self._sessions.open_in(
            session,
            call.principal,
            thread_id,
            run_id or RunId(new_id()),
            request_id=call.context.request_id,
        )
        call = call.under(call.context.narrowed(thread_id=thread_id, run_id=opened.run_id))
        sent, events = make_run(call, message, head, now)
        await store.append(
            session,
            call.context,
            messages=((events[0].sequence, sent.message), (sent.sequence, sent.reply)),
            events=events,
        )
        usage = UsageEvent(
            usage_id=new_id(),
            thread_id=thread_id,
            run_id=sent.message.run_id,
            input_characters=len(message),
            output_characters=len(sent.reply.content),
        )
        usage.occurred_at.FromDatetime(now)
        entry = make_usage_entry(call.context, usage, str(call.trace), now)
        await write_outbox(session, call.context, entry)
        await self._record(session, call, "messages.send")
        return call, sent, usage

    async def _tell_usage(self, call: EdgeCall, usage: UsageEvent) -> None:
        code = "OK"
        try:
            await self._analytics.record_usage(call, usage)
        except (ServiceError, ContextError, TimeoutError) as error:
            # Not the caller's failure: the outbox holds the same event.
            code = from_error(error).code.name
            call.log.warning("usage not told by hop", code=code)
        USAGE_HOPS.labels(code).inc()

    async def _cached(self, call: EdgeCall, head: int) -> tuple[Message, ...] | None:
        try:
            return await self._transcripts.get(call.context.data_scope, head)
        except ServiceError as error:
            call.log.warning("transcript cache not read", code=error.code.name)
            return None

    async def _keep(self, call: EdgeCall, head: int, messages: tuple[Message, ...]) -> None:
        try:
            await self._transcripts.put(call.context.data_scope, head, messages)
        except ServiceError as error:
            call.log.warning("transcript cache not written", code=error.code.name)

    async def _record(self, session: AsyncSession, call: EdgeCall, action: str) -> None:
        await self._trail.record(
            session,
            call.context,
            action=action,
            outcome=TrailOutcome.OK,
            trace_id=call.trace.trace_id,
        )

    async def _refuse(self, call: EdgeCall, action: str) -> NoReturn:
        """Keeps that the caller asked for what is not hers, under her own context alone."""
        async with self._database.transaction(call.context.user_scope) as session:
            await self._trail.record(
                session,
                call.context,
                action=action,
                outcome=TrailOutcome.REFUSED,
                trace_id=call.trace.trace_id,
            )
        raise NotFound


def make_run(
    call: EdgeCall, message: str, head: int, now: datetime
) -> tuple[SentMessage, tuple[Event, ...]]:
    """What the agent's run on a message writes into the call's thread, after its head."""
    context = call.context
    if context.thread_id is None or context.run_id is None:
        raise ValueError("expected a context in a thread and a run")
    thread_id, run_id = context.thread_id, context.run_id
    run = run_agent(message)

    def entry(role: MessageRole, content: str) -> Message:
        return Message(new_id(), thread_id, run_id, role, content, now)

    events = tuple(
        Event(sequence, step.type, thread_id, run_id, context.request_id, step.content, now)
        for sequence, step in enumerate(run.steps, start=head + 1)
    )
    sent = SentMessage(
        message=entry(MessageRole.USER, message),
        reply=entry(MessageRole.AGENT, run.reply),
        request_id=context.request_id,
        sequence=events[-1].sequence,
    )
    return sent, events
