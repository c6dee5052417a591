"""People who go on writing while parts of the system die, and what each was told."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Self

from contracts.context import ThreadId
from integration.clients.answers import Refused, Unanswered
from integration.clients.backend import BackendClient
from integration.clients.backend_grpc import BackendGrpcClient
from integration.clients.connections import HttpConnections
from integration.clients.websocket import WebSocketTestClient
from integration.environment import Environment
from integration.fixtures.principals import Person, Principals
from tools.processes.waiting import until

_PAUSE_SECONDS: Final = 0.01
_SEVERAL: Final = 3

WRITER_ENDED: Final = "the writer ended"
"""Why a message that was on its way at the end is unknown."""

Send = Callable[[str], Awaitable[object]]


@dataclass(slots=True)
class Writer:
    """One person who writes to one thread by one channel of one replica, one message at a time.

    `acknowledged` are the contents in order, `refused` those that were refused with their codes,
    `unknown` those of which nobody can say whether they happened.
    """

    name: str
    person: Person
    thread_id: ThreadId
    acknowledged: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    _number: int = 0

    async def write(self, send: Send) -> None:
        """Sends the next message, and notes what becomes of it."""
        self._number += 1
        content = f"{self.name} says {self._number}"
        try:
            await send(content)
        except Refused as error:
            if error.definite:
                self.refused[content] = error.code
            else:
                self.unknown[content] = error.code
        except Unanswered as error:
            self.unknown[content] = str(error)
            raise
        except asyncio.CancelledError:
            self.unknown[content] = WRITER_ENDED
            raise
        else:
            self.acknowledged.append(content)

    async def go_on(
        self, channel: Callable[[Self], contextlib.AbstractAsyncContextManager[Send]]
    ) -> None:
        """Writes until cancelled, by a new connection where one is gone."""
        while True:
            with contextlib.suppress(Refused, Unanswered):
                async with channel(self) as send:
                    while True:
                        await self.write(send)
                        # A closed loop, not a flood: the datastores' return shall not find a queue.
                        await asyncio.sleep(_PAUSE_SECONDS)
            await asyncio.sleep(_PAUSE_SECONDS)


@asynccontextmanager
async def _http(url: str, writer: Writer) -> AsyncIterator[Send]:
    async with HttpConnections(url) as connections:
        client = BackendClient(connections, token=writer.person.token)
        yield lambda content: client.send_message(writer.thread_id, content)


@asynccontextmanager
async def _grpc(target: str, writer: Writer) -> AsyncIterator[Send]:
    async with BackendGrpcClient(target, token=writer.person.token) as client:
        yield lambda content: client.send_message(writer.thread_id, content)


@asynccontextmanager
async def _websocket(url: str, writer: Writer) -> AsyncIterator[Send]:
    async with WebSocketTestClient(token=writer.person.token, base_url=url) as client:
        yield lambda content: client.request_agent(writer.thread_id, content)


@asynccontextmanager
async def writing(environment: Environment, principals: Principals) -> AsyncIterator[list[Writer]]:
    """One writer for each channel of each replica, who write until the end of the block."""
    channels = {}
    for replica, url, target in zip(
        environment.replica_names,
        environment.backend_urls,
        environment.backend_grpc_targets,
        strict=True,
    ):
        channels[f"{replica} http"] = lambda writer, url=url: _http(url, writer)
        channels[f"{replica} grpc"] = lambda writer, target=target: _grpc(target, writer)
        channels[f"{replica} websocket"] = lambda writer, url=url: _websocket(url, writer)
    writers = []
    for name in channels:
        person = await principals.user()
        writers.append(Writer(name, person, await principals.thread(person)))
    tasks = [asyncio.create_task(writer.go_on(channels[writer.name])) for writer in writers]
    try:
        await acknowledged_again(writers)
        yield writers
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        for each in ended:
            if isinstance(each, Exception):
                raise each


async def acknowledged_again(writers: Sequence[Writer], limit_seconds: float = 15.0) -> None:
    """Waits until everybody has had several more messages acknowledged.

    Raises:
        TimeoutError: it took longer than the limit; it names who still waits.
    """
    before = {writer.name: len(writer.acknowledged) for writer in writers}

    def waiting() -> list[str]:
        return [w.name for w in writers if len(w.acknowledged) < before[w.name] + _SEVERAL]

    try:
        await until(lambda: not waiting(), limit_seconds)
    except TimeoutError:
        raise TimeoutError(
            f"after {limit_seconds:g} s nothing is acknowledged to {waiting()}"
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the system keeps of a thread: its users' contents in order, events, and usage."""

    contents: tuple[str, ...]
    sequences: tuple[int, ...]
    runs: int

    def problems(self, writer: Writer) -> list[str]:
        """Where this differs from what the writer was told, in words."""
        found = Counter(self.contents)
        told = {*writer.acknowledged, *writer.refused, *writer.unknown}
        acknowledged = set(writer.acknowledged)
        order = [content for content in self.contents if content in acknowledged]
        return [
            *(f"lost: {each}" for each in writer.acknowledged if not found[each]),
            *(f"twice: {each}" for each, number in found.items() if number > 1),
            *(f"refused, and done: {each}" for each in writer.refused if found[each]),
            *(f"never sent here: {each}" for each in found if each not in told),
            *(["out of order"] if order != [c for c in writer.acknowledged if found[c]] else []),
            *(
                ["the events' numbers have a gap"]
                if self.sequences != tuple(range(1, len(self.sequences) + 1))
                else []
            ),
        ]


async def kept_of(environment: Environment, writer: Writer) -> Kept:
    """What the owner is shown of the writer's thread, at the last replica."""
    async with BackendClient(environment.backend_urls[-1], token=writer.person.token) as backend:
        messages = await backend.messages(writer.thread_id)
        events = await backend.events(writer.thread_id)
        usage = await backend.thread_usage(writer.thread_id)
    return Kept(
        contents=tuple(each.content for each in messages.messages if each.role == "user"),
        sequences=tuple(event.sequence for event in events.events),
        runs=usage.runs,
    )
