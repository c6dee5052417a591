"""What several people do at once, with what each was told and what the trails must say of it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from contracts.context import RunId, ThreadId
from integration.clients.answers import Answer, Refused
from integration.clients.auth import AuthClient
from integration.clients.backend import BackendClient
from integration.clients.backend_grpc import BackendGrpcClient
from integration.clients.results import Result
from integration.clients.websocket import WebSocketTestClient
from integration.environment import Environment
from integration.fixtures.principals import Person

OK: Final = "ok"
REFUSED: Final = "refused"
_EXCHANGED: Final = ("auth", "tokens.exchange", OK)
_TOLD: Final = ("analytics", "usage.record", OK)
_CONSUMED: Final = ("analytics", "usage.consume", OK)
_SENT: Final = ("backend", "messages.send", OK)

Row = tuple[str, str, str]
"""A row of a trail: the database, the action, the outcome."""


@dataclass(frozen=True, slots=True)
class Deed:
    """One operation of somebody: its trace, the thread that it is in, the rows it must leave."""

    what: str
    trace_id: str
    thread_id: ThreadId | None
    rows: frozenset[Row]


@dataclass(slots=True)
class Story:
    """One person's doings. `marker` stands in everything that she writes."""

    person: Person
    marker: str = field(default_factory=lambda: f"zq{secrets.token_hex(8)}")
    threads: list[ThreadId] = field(default_factory=list)
    runs: list[RunId] = field(default_factory=list)
    deeds: list[Deed] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """All that any channel answered her, with headers, metadata and envelopes."""

    @property
    def secrets(self) -> frozenset[str]:
        """What nobody else may ever be told."""
        session = self.person.session
        traces = (deed.trace_id for deed in self.deeds)
        tokens = (session.access_token, session.refresh_token)
        own = (session.user_id, self.marker, *tokens)
        return frozenset((*own, *self.threads, *self.runs, *traces))

    async def done(
        self,
        what: str,
        operation: Callable[[str], Awaitable[Result | None]],
        *rows: Row,
        thread_id: ThreadId | None = None,
    ) -> None:
        """Does it under a trace of its own, and keeps what was answered: a refusal is an answer."""
        trace_id = secrets.token_hex(16)
        self.deeds.append(Deed(what, trace_id, thread_id, frozenset(rows)))
        try:
            result = await operation(f"00-{trace_id}-{secrets.token_hex(8)}-01")
        except Refused as refused:
            self.hear(refused.answer)
        else:
            if result is not None:
                self.hear(result.answer)

    def hear(self, answer: Answer) -> None:
        """Keeps an answer."""
        self.told.append(f"{answer.status} {dict(answer.headers)} {answer.body.decode('latin-1')}")


async def settle(environment: Environment, story: Story) -> None:
    """Two threads of her own."""
    for number in range(2):
        async with BackendClient(environment.backend_url, token=story.person.token) as backend:
            title = f"{story.marker} {number}"
            story.threads.append((await backend.create_thread(title)).thread_id)


async def play(environment: Environment, story: Story, other: Story) -> None:
    """All that a member can do, over every channel, and what she tries with another's."""
    await asyncio.gather(
        _over_http(environment, story, other),
        _over_grpc(environment, story, other),
        _over_websocket(environment, story, other),
    )
    await _at_auth(environment, story)


async def _over_http(environment: Environment, story: Story, other: Story) -> None:
    mine, theirs = story.threads[0], other.threads[0]
    async with BackendClient(environment.backend_urls[0], token=story.person.token) as backend:

        async def send(traceparent: str) -> Result:
            sent = await backend.send_message(mine, story.marker, traceparent=traceparent)
            story.runs.append(sent.message.run_id)
            return sent

        told = (_SENT, _EXCHANGED, _TOLD, _CONSUMED)
        await story.done("send", send, *told, thread_id=mine)
        await story.done(
            "list", lambda t: backend.threads(traceparent=t), ("backend", "threads.list", OK)
        )
        await story.done(
            "usage",
            lambda t: backend.thread_usage(mine, traceparent=t),
            ("backend", "usage.read", OK),
            _EXCHANGED,
            ("analytics", "usage.thread", OK),
            thread_id=mine,
        )
        await story.done(
            "session",
            lambda t: backend.open_session(mine, traceparent=t),
            ("backend", "sessions.open", OK),
            thread_id=mine,
        )
        for what, refused, action in (
            ("their messages", lambda t: backend.messages(theirs, traceparent=t), "messages.list"),
            ("their events", lambda t: backend.events(theirs, traceparent=t), "events.list"),
            (
                "to their thread",
                lambda t: backend.send_message(theirs, story.marker, traceparent=t),
                "messages.send",
            ),
            (
                "in their run",
                lambda t: backend.send_message(
                    mine, story.marker, run_id=RunId(secrets.token_hex(16)), traceparent=t
                ),
                "messages.send",
            ),
            (
                "their session",
                lambda t: backend.open_session(theirs, traceparent=t),
                "sessions.open",
            ),
            ("their usage", lambda t: backend.thread_usage(theirs, traceparent=t), "usage.read"),
        ):
            await story.done(what, refused, ("backend", action, REFUSED))


async def _over_grpc(environment: Environment, story: Story, other: Story) -> None:
    mine, theirs = story.threads[1], other.threads[1]
    target = environment.backend_grpc_targets[1]
    async with BackendGrpcClient(target, token=story.person.token) as backend:

        async def send(traceparent: str) -> Result:
            sent = await backend.send_message(mine, story.marker, traceparent=traceparent)
            story.runs.append(sent.message.run_id)
            return sent

        told = (_SENT, _EXCHANGED, _TOLD, _CONSUMED)
        await story.done("send by gRPC", send, *told, thread_id=mine)
        await story.done(
            "events by gRPC",
            lambda t: backend.events(mine, traceparent=t),
            ("backend", "events.list", OK),
            thread_id=mine,
        )
        await story.done(
            "their messages by gRPC",
            lambda t: backend.messages(theirs, traceparent=t),
            ("backend", "messages.list", REFUSED),
        )


async def _over_websocket(environment: Environment, story: Story, other: Story) -> None:
    mine, theirs = story.threads[1], other.threads[1]
    url, token = environment.backend_urls[1], story.person.token
    async with WebSocketTestClient(token=token, base_url=url, client_id="tab") as client:

        async def subscribe(traceparent: str) -> None:
            await client.subscribe(mine, traceparent=traceparent)

        async def request(traceparent: str) -> None:
            sent = await client.request_agent(mine, story.marker, traceparent=traceparent)
            story.runs.append(sent.run_id)
            story.hear(sent.answer)

        async def spy(traceparent: str) -> None:
            await client.subscribe(theirs, traceparent=traceparent)

        subscribed = ("backend", "threads.subscribe", OK)
        await story.done("subscribe", subscribe, subscribed, thread_id=mine)
        await story.done("request", request, _SENT, _CONSUMED, thread_id=mine)
        await story.done("subscribe to theirs", spy, ("backend", "threads.subscribe", REFUSED))
        events = await client.collect_events(10.0, until="agent_completed")
        story.told += [str(event) for event in events]


async def _at_auth(environment: Environment, story: Story) -> None:
    person = story.person
    async with AuthClient(environment.auth_url) as auth:
        session = await auth.log_in(person.tenant, person.login_name, person.password)

        async def wrong(traceparent: str) -> Result:
            password = secrets.token_hex(8)
            return await auth.log_in(
                person.tenant, person.login_name, password, traceparent=traceparent
            )

        await story.done("wrong password", wrong, ("auth", "sessions.log_in", REFUSED))
        await story.done(
            "refresh",
            lambda t: auth.refresh(session.refresh_token, traceparent=t),
            ("auth", "sessions.refresh", OK),
        )
        await story.done(
            "refresh again",
            lambda t: auth.refresh(session.refresh_token, traceparent=t),
            ("auth", "sessions.refresh", REFUSED),
        )


def others_of(stories: Mapping[str, Story], name: str) -> frozenset[str]:
    """What everybody else keeps to herself."""
    return frozenset(
        secret for other, story in stories.items() if other != name for secret in story.secrets
    )
