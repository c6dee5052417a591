"""What many contexts at once cost, against the same contexts one after the other.

T(1) is the time from an agent request over WebSocket to its `agent_completed`, T(n) that of n
contexts at once until the last has its own. The factor T(n) / (n · T(1)) is below 1 where working
at once saves time, about 1 where everything waits in one orderly queue, and above 1 where those who
wait get into each other's way. Both are measured in turns within a run, since a machine's speed
changes from minute to minute; what is quoted is the median of the rounds' factors.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from contracts.context import ThreadId
from integration.clients.answers import Refused
from integration.clients.websocket import WebSocketTestClient
from integration.environment import Environment
from integration.fixtures.principals import Principals
from integration.performance.comparison import MINIMUM_ROUNDS

COMPLETED: Final = "agent_completed"

_WARM_UP_ROUNDS: Final = 2
_COMPLETION_SECONDS: Final = 60.0


class NotCompleted(Exception):
    """An agent request did not end with its own `agent_completed` in time."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """A person's WebSocket in a thread of hers.

    Who is `patient` says again what was refused for now, and keeps count of it in `refused`.
    """

    client: WebSocketTestClient
    thread_id: ThreadId
    patient: bool = False
    refused: list[str] = field(default_factory=list)

    async def speak(self, message: str) -> None:
        """Sends a message, and waits until the agent has completed it.

        Raises:
            NotCompleted: that did not come, or it was about something else.
            Refused, Unanswered
        """
        while not await self._taken(message):
            self.refused.append(message)
        events = await self.client.collect_events(_COMPLETION_SECONDS, until=COMPLETED)
        last = events[-1] if events else {}
        if last.get("type") != COMPLETED or message not in last["content"]:
            raise NotCompleted(f"expected {COMPLETED} for a message, got {last.get('type')}")

    async def _taken(self, message: str) -> bool:
        try:
            await self.client.request_agent(self.thread_id, message)
        except Refused as error:
            # This code alone says that nothing has happened, and that it may be said again.
            if self.patient and error.code == "UNAVAILABLE":
                return False
            raise
        return True


@asynccontextmanager
async def speakers(
    environment: Environment,
    principals: Principals,
    count: int,
    *,
    replicas: int = 1,
    patient: bool = False,
) -> AsyncIterator[list[Speaker]]:
    """So many people of one tenant, each in a thread of her own, at the first replicas."""
    tenant = (await principals.administrator()).tenant
    async with AsyncExitStack() as stack:
        found = []
        for number in range(count):
            person = await principals.user(tenant)
            client = await stack.enter_async_context(
                WebSocketTestClient(
                    token=person.token,
                    base_url=environment.backend_urls[number % replicas],
                    limit_seconds=_COMPLETION_SECONDS,
                )
            )
            found.append(Speaker(client, await principals.thread(person), patient))
        yield found


@dataclass(frozen=True, slots=True)
class Round:
    """What the same messages took one after the other, and at once."""

    in_turn_seconds: float
    """n · T(1), each context once."""
    at_once_seconds: float
    """T(n)."""

    @property
    def factor(self) -> float:
        """T(n) / (n · T(1))."""
        return self.at_once_seconds / self.in_turn_seconds


@dataclass(frozen=True, slots=True)
class Scaling:
    """The rounds of one run, for so many contexts."""

    contexts: int
    rounds: tuple[Round, ...]

    def __post_init__(self) -> None:
        """Refuses what no median could be taken of."""
        if self.contexts < 1 or len(self.rounds) < MINIMUM_ROUNDS:
            raise ValueError(
                f"expected contexts and at least {MINIMUM_ROUNDS} rounds, got {self.contexts} and "
                f"{len(self.rounds)}"
            )

    @property
    def factor(self) -> float:
        """The median of the rounds' T(n) / (n · T(1))."""
        return statistics.median(each.factor for each in self.rounds)

    @property
    def one_seconds(self) -> float:
        """T(1), the median of the rounds'."""
        return statistics.median(each.in_turn_seconds for each in self.rounds) / self.contexts

    @property
    def all_seconds(self) -> float:
        """T(n), the median of the rounds'."""
        return statistics.median(each.at_once_seconds for each in self.rounds)


async def measure_scaling(speaking: Sequence[Speaker], *, rounds: int = MINIMUM_ROUNDS) -> Scaling:
    """Measures warm, in turns: every other round begins with what the one before ended with.

    Raises:
        ValueError: there are fewer than five rounds, or nobody speaks.
        NotCompleted, Refused, Unanswered: a message was not completed; there is no figure then.
    """
    for number in range(_WARM_UP_ROUNDS):
        await _in_turn(speaking, f"warm-up {number}")
        await _at_once(speaking, f"warm-up {number} at once")
    measured = []
    for number in range(rounds):
        if number % 2:
            at_once = await _at_once(speaking, f"at once {number}")
            in_turn = await _in_turn(speaking, f"in turn {number}")
        else:
            in_turn = await _in_turn(speaking, f"in turn {number}")
            at_once = await _at_once(speaking, f"at once {number}")
        measured.append(Round(in_turn, at_once))
    return Scaling(len(speaking), tuple(measured))


async def _in_turn(speaking: Sequence[Speaker], message: str) -> float:
    begin = time.perf_counter()
    for speaker in speaking:
        await speaker.speak(message)
    return time.perf_counter() - begin


async def _at_once(speaking: Sequence[Speaker], message: str) -> float:
    begin = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for speaker in speaking:
            group.create_task(speaker.speak(message))
    return time.perf_counter() - begin
