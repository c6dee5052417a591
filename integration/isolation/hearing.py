"""Who heard what over WebSocket: whole sequences of events, compared with what was said.

A `Conversation` is one thread with everything that was said in it; an `Ear` is one socket with
everything that it was sent. That nothing else came is shown by what came later: `settle` says one
more thing in every conversation and waits until all who listen have heard it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from contracts.context import RunId, ThreadId
from contracts.context.carriers.websocket import EVENT_TYPES
from integration.clients.backend import BackendClient
from integration.clients.websocket import Frame, WebSocketTestClient
from integration.environment import Environment
from integration.fixtures.principals import Person, Principals

HEARING_SECONDS: Final = 10.0
"""How long an acknowledged event may take until whoever listens has it."""


class Event(NamedTuple):
    """One event: where it belongs, its place there, and what it says."""

    thread_id: ThreadId
    run_id: RunId
    sequence: int
    type: str
    content: str


class Conversation:
    """One thread of one person. `events` are all of it, as those who follow it shall hear them."""

    def __init__(self, environment: Environment, person: Person, thread_id: ThreadId) -> None:
        self.person: Final = person
        self.thread_id: Final = thread_id
        self.events: list[Event] = []
        self._environment = environment

    async def say(self, *messages: str, replica: int = 0) -> None:
        """Sends messages over HTTP, one after the other; each is committed when this returns."""
        url = self._environment.backend_urls[replica]
        async with BackendClient(url, token=self.person.token) as backend:
            for message in messages:
                sent = await backend.send_message(self.thread_id, message)
                self.said(message, sent.message.run_id, sent.sequence)

    def said(self, message: str, run_id: RunId, last_sequence: int) -> None:
        """Notes a message that was acknowledged: its run's events end with that number."""
        contents = ("", f"thinking about {message}", "echo", f"echo: {message}")
        run = zip(EVENT_TYPES, (*contents, f"You said: {message}"), strict=True)
        first = last_sequence - len(EVENT_TYPES) + 1
        self.events += [
            Event(self.thread_id, run_id, sequence, kind, content)
            for sequence, (kind, content) in enumerate(run, first)
        ]


class Ear:
    """One socket that follows conversations, and all events that it was sent since its start."""

    def __init__(self, client: WebSocketTestClient, conversations: Sequence[Conversation]) -> None:
        self.client: Final = client
        self.conversations: Final = list(conversations)
        self.heard: list[Event] = []

    @property
    def by_thread(self) -> dict[ThreadId, list[Event]]:
        """What was heard, in order, for each thread that anything was heard of."""
        threads: dict[ThreadId, list[Event]] = {}
        for event in self.heard:
            threads.setdefault(event.thread_id, []).append(event)
        return threads

    @property
    def missing(self) -> list[Event]:
        """What was said last in each conversation and has not been heard."""
        newest = [each.events[-1] for each in self.conversations if each.events]
        return [event for event in newest if event not in self.heard]

    async def catch_up(self) -> None:
        """Waits until the newest event of every conversation has come.

        Raises:
            AssertionError: it did not come within 10 s, or the connection was closed before.
        """
        awaited = set(self.missing)
        if awaited:
            self.take(
                await self.client.collect_events(
                    HEARING_SECONDS,
                    lambda frames: awaited <= {event_of(frame) for frame in frames},
                )
            )
        if self.missing:
            raise AssertionError(f"not heard within {HEARING_SECONDS:g} s: {self.missing}")

    async def leave(self, conversation: Conversation) -> None:
        """Unsubscribes; returns when the server has confirmed it."""
        await self.client.unsubscribe(conversation.thread_id)
        self.conversations.remove(conversation)

    def take(self, frames: Sequence[Frame]) -> None:
        """Notes frames that came."""
        self.heard += [event_of(frame) for frame in frames]


def event_of(frame: Frame) -> Event:
    """The event in a frame."""
    return Event(
        ThreadId(frame["thread_id"]),
        RunId(frame["run_id"]),
        frame["sequence"],
        frame["type"],
        frame["content"],
    )


class Stage:
    """Makes conversations and ears on the running system."""

    def __init__(self, environment: Environment, principals: Principals) -> None:
        self.environment: Final = environment
        self.principals: Final = principals

    async def conversation(self, person: Person) -> Conversation:
        """A new thread of a person."""
        thread_id = await self.principals.thread(person)
        return Conversation(self.environment, person, thread_id)

    @asynccontextmanager
    async def listening(
        self,
        *conversations: Conversation,
        replica: int = 0,
        label: str | None = None,
        person: Person | None = None,
        after_sequence: int | None = None,
    ) -> AsyncIterator[Ear]:
        """A socket of the conversations' person that follows them.

        Args:
            conversations: all of one person.
            replica: which of the backend's processes it is connected to.
            label: the connection's own, which means nothing to anybody else.
            person: the same person under another log-in.
            after_sequence: resumes each after this number; otherwise from now on.
        """
        async with WebSocketTestClient(
            token=(person or conversations[0].person).token,
            base_url=self.environment.backend_urls[replica],
            client_id=label,
        ) as client:
            for conversation in conversations:
                await client.subscribe(conversation.thread_id, after_sequence=after_sequence)
            yield Ear(client, conversations)


async def settle(*ears: Ear) -> None:
    """Waits until every ear has heard its conversations, and then a last word in each of them.

    Whatever was sent to an ear by mistake was sent before that last word.
    """
    await _catch_up(ears)
    conversations = {each.thread_id: each for ear in ears for each in ear.conversations}
    for conversation in conversations.values():
        await conversation.say("a last word")
    await _catch_up(ears)


async def _catch_up(ears: Sequence[Ear]) -> None:
    await asyncio.gather(*(ear.catch_up() for ear in ears))
