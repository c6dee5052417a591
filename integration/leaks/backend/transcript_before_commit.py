"""A transcript is cached with the message that is about to be committed."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from contracts.context import RunId, ThreadId
from services.backend import store
from services.backend.conversations import Conversations
from services.backend.domain import SentMessage
from services.runtime.calls import EdgeCall
from watertight.events.v1.usage_pb2 import UsageEvent

_Run = tuple[EdgeCall, SentMessage, UsageEvent]


def install() -> None:
    """Replaces `Conversations._run`."""
    run = Conversations._run  # noqa: SLF001 -- a defect takes what it wants

    async def run_and_keep(
        conversations: Conversations,
        session: AsyncSession,
        call: EdgeCall,
        thread_id: ThreadId,
        run_id: RunId | None,
        *,
        message: str,
        head: int,
    ) -> _Run:
        """Spares the next reader the query, before anybody knows whether there is a next one."""
        done = await run(
            conversations, session, call, thread_id, run_id, message=message, head=head
        )
        messages = await store.list_messages(session, thread_id)
        await conversations._keep(done[0], done[1].sequence, messages)  # noqa: SLF001
        return done

    Conversations._run = run_and_keep  # type: ignore[assignment,method-assign]  # noqa: SLF001
