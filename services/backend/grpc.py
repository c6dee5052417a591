"""The backend's gRPC interface: the same operations as over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from contracts.context import RunId, ThreadId
from services.backend import domain
from services.backend.conversations import Conversations
from services.runtime.calls import EdgeCall
from watertight.backend.v1 import backend_pb2 as wire

SERVICE: Final = wire.DESCRIPTOR.services_by_name["BackendService"]

_ROLES: Final = {
    domain.MessageRole.USER: wire.MESSAGE_ROLE_USER,
    domain.MessageRole.AGENT: wire.MESSAGE_ROLE_AGENT,
}


class BackendServicer:
    """`watertight.backend.v1.BackendService`."""

    def __init__(self, conversations: Conversations) -> None:
        self._conversations = conversations

    async def create_thread(
        self, request: wire.CreateThreadRequest, call: EdgeCall
    ) -> wire.CreateThreadResponse:
        """Creates a thread."""
        thread = await self._conversations.create_thread(call, request.title)
        return wire.CreateThreadResponse(thread=_thread(thread))

    async def list_threads(
        self, request: wire.ListThreadsRequest, call: EdgeCall
    ) -> wire.ListThreadsResponse:
        """The caller's newest 1,000 threads, oldest first."""
        del request
        threads = await self._conversations.list_threads(call)
        return wire.ListThreadsResponse(threads=[_thread(thread) for thread in threads])

    async def open_session(
        self, request: wire.OpenSessionRequest, call: EdgeCall
    ) -> wire.OpenSessionResponse:
        """The thread's current run, or a first one where there is none."""
        session = await self._conversations.open_session(call, ThreadId(request.thread_id))
        return wire.OpenSessionResponse(
            thread_id=session.thread_id,
            run_id=session.run_id,
            head_sequence=session.head_sequence,
        )

    async def send_message(
        self, request: wire.SendMessageRequest, call: EdgeCall
    ) -> wire.SendMessageResponse:
        """Stores a message and runs the agent on it; answered once that is committed."""
        sent = await self._conversations.send_message(
            call,
            ThreadId(request.thread_id),
            request.message,
            RunId(request.run_id) if request.HasField("run_id") else None,
            usage_by_hop=True,
        )
        return wire.SendMessageResponse(
            message=_message(sent.message), reply=_message(sent.reply), sequence=sent.sequence
        )

    async def list_messages(
        self, request: wire.ListMessagesRequest, call: EdgeCall
    ) -> wire.ListMessagesResponse:
        """The thread's transcript, oldest first."""
        messages = await self._conversations.list_messages(call, ThreadId(request.thread_id))
        return wire.ListMessagesResponse(messages=[_message(message) for message in messages])

    async def list_events(
        self, request: wire.ListEventsRequest, call: EdgeCall
    ) -> wire.ListEventsResponse:
        """The thread's events after a sequence number, in order."""
        page = await self._conversations.list_events(
            call, ThreadId(request.thread_id), request.after_sequence
        )
        return wire.ListEventsResponse(
            events=[_event(event) for event in page.events], head_sequence=page.head_sequence
        )

    async def get_thread_usage(
        self, request: wire.GetThreadUsageRequest, call: EdgeCall
    ) -> wire.GetThreadUsageResponse:
        """What the thread's runs consumed, asked of analytics."""
        usage = await self._conversations.thread_usage(call, ThreadId(request.thread_id))
        return wire.GetThreadUsageResponse(
            thread_id=usage.thread_id,
            runs=usage.runs,
            input_characters=usage.input_characters,
            output_characters=usage.output_characters,
        )


def _thread(thread: domain.Thread) -> wire.Thread:
    return wire.Thread(
        thread_id=thread.thread_id, title=thread.title, created_at=_time(thread.created_at)
    )


def _message(message: domain.Message) -> wire.Message:
    return wire.Message(
        message_id=message.message_id,
        thread_id=message.thread_id,
        run_id=message.run_id,
        role=_ROLES[message.role],
        content=message.content,
        created_at=_time(message.created_at),
    )


def _event(event: domain.Event) -> wire.Event:
    return wire.Event(
        sequence=event.sequence,
        type=wire.EventType.Value(f"EVENT_TYPE_{event.type.upper()}"),
        thread_id=event.thread_id,
        run_id=event.run_id,
        request_id=event.request_id,
        content=event.content,
        created_at=_time(event.created_at),
    )


def _time(value: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(value)
    return stamp
