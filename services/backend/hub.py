"""Who receives a thread's events in this process.

A room is a thread that somebody here follows. It subscribes to the thread's wake-ups first and
reads from Postgres then; a wake-up only says when to look. It looks without one as well: once a
second while no wake-ups come, and seldom while they do, for what a replica that died could not
tell. The seldom looks of many rooms are spread out: idle threads leave Postgres to others. What it
reads, under the thread's scope, goes to the room's recipients. Who is behind, because it resumes or
because its peer reads slowly, reads by itself, under its own context, as fast as its peer takes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import Callable, Collection
from contextvars import Context
from datetime import UTC, datetime
from typing import Final, Protocol

from contracts.context import ContextError, DataScope, UserExecutionContext
from services.backend.announcements import decode_head
from services.backend.domain import Event, EventPage
from services.runtime.errors import InvalidArgument, ResourceExhausted, ServiceError
from services.runtime.logging import context_logger, error_fields, service_logger
from services.runtime.tasks import end

LOOK_SECONDS: Final = 1.0
# With the reading it stays below the 10 s within which an acknowledged event shall have arrived.
SELDOM_LOOK_SECONDS: Final = 8.0
MAXIMUM_SUBSCRIPTIONS: Final = 500


class ThreadEvents(Protocol):
    """Reads threads' events from where they rest."""

    async def events_after(
        self, scope: DataScope, after_sequence: int, *, few: bool = False
    ) -> EventPage:
        """The first events after a sequence number, in order; `few` to be kept for one peer.

        Raises:
            NotFound: the scope has no such thread.
            Unavailable: the store does not answer.
        """

    async def head(self, scope: DataScope) -> int:
        """The sequence number of the thread's newest event. Raises like `events_after`."""


class WakeUpChannels(Protocol):
    """Tells that a thread may have new events, whichever process wrote them."""

    @property
    def connected(self) -> bool:
        """Whether calls can come now. When that ends, every `wake` is called once."""

    def subscribed(
        self, scope: DataScope, wake: Callable[[bytes], None]
    ) -> contextlib.AbstractAsyncContextManager[None]:
        """Calls `wake` from the moment that the block is entered; a call may be lost."""


class Receiver(Protocol):
    """A client's connection."""

    @property
    def has_room(self) -> bool:
        """Whether the peer has read enough for more to be written."""

    def send_text(self, text: str) -> bool:
        """Writes now; false when the connection is closing."""

    async def room(self) -> bool:
        """Waits until there is room; false when the connection is closing."""


class Subscription:
    """One connection's interest in one thread. `sequence` is the last event that it has had."""

    def __init__(
        self, context: UserExecutionContext, receiver: Receiver, after_sequence: int
    ) -> None:
        self.context: Final = context
        self.receiver: Final = receiver
        self.sequence = after_sequence
        self.catching_up: asyncio.Task[None] | None = None

    def offer(self, sequence: int, frame: str) -> None:
        """Sends the event if it is the next one and there is room; else it is read again later."""
        if (
            self.catching_up is None
            and sequence == self.sequence + 1
            and self.receiver.has_room
            and self.receiver.send_text(frame)
        ):
            self.sequence = sequence

    def end(self) -> None:
        """Sends nothing more."""
        if self.catching_up is not None:
            self.catching_up.cancel()


class _Room:
    """A thread that somebody here follows. `sequence` is the last event that it has handed out."""

    def __init__(self, scope: DataScope) -> None:
        self.scope: Final = scope
        self.sequence: int | None = None
        self.subscriptions: set[Subscription] = set()
        self.entering = 0
        self.listening = asyncio.Event()
        self.subscribed = False
        self.left = asyncio.Event()
        self.look = asyncio.Event()
        self.pump: asyncio.Task[None] | None = None

    def wake(self, payload: bytes) -> None:
        """Looks, unless the payload says a head that it has had. The payload is a hint, no fact."""
        head = decode_head(payload)
        if self.sequence is None or head is None or head > self.sequence:
            self.look.set()

    @property
    def empty(self) -> bool:
        """Whether nobody follows the thread here, nor is about to."""
        return not (self.subscriptions or self.entering)


class Hub:
    """Brings each thread's events to the connections of this process that follow it.

    Args:
        events: where they rest.
        wake_ups: when to look.
        look_seconds: between looks while no wake-ups come.
        seldom_look_seconds: at most, and half of it at least, between looks while they do.
        maximum_subscriptions: of one user, over all connections of this process.
    """

    def __init__(
        self,
        events: ThreadEvents,
        wake_ups: WakeUpChannels,
        *,
        look_seconds: float = LOOK_SECONDS,
        seldom_look_seconds: float = SELDOM_LOOK_SECONDS,
        maximum_subscriptions: int = MAXIMUM_SUBSCRIPTIONS,
    ) -> None:
        self._events = events
        self._wake_ups = wake_ups
        self._look_seconds = look_seconds
        self._seldom_look_seconds = seldom_look_seconds
        self._maximum_subscriptions = maximum_subscriptions
        self._rooms: dict[DataScope, _Room] = {}
        self._held: Counter[DataScope] = Counter()

    def recipients(self, scope: DataScope) -> Collection[Subscription]:
        """The subscriptions that a thread's events are for: those to just this thread."""
        room = self._rooms.get(scope)
        return () if room is None else tuple(room.subscriptions)

    async def subscribe(
        self,
        context: UserExecutionContext,
        receiver: Receiver,
        after_sequence: int | None,
        confirm: Callable[[int], object],
    ) -> Subscription:
        """Follows the context's thread: the events after a sequence number, else those from now on.

        `confirm` is called with the thread's head before the first event is sent.

        Raises:
            NotFound: the context's user has no such thread.
            InvalidArgument: the sequence number lies beyond the thread's head.
            ResourceExhausted: the user follows as many threads as one may, over all connections.
            Unavailable: the store does not answer.
        """
        self._take_place(context.user_scope)
        try:
            return await self._enter(context, receiver, after_sequence, confirm)
        except BaseException:
            self._give_place(context.user_scope)
            raise

    def unsubscribe(self, subscription: Subscription) -> None:
        """Sends the subscription nothing more."""
        subscription.end()
        room = self._rooms.get(subscription.context.data_scope)
        if room is not None and subscription in room.subscriptions:
            room.subscriptions.remove(subscription)
            self._give_place(subscription.context.user_scope)
            self._leave(room)

    async def _enter(
        self,
        context: UserExecutionContext,
        receiver: Receiver,
        after_sequence: int | None,
        confirm: Callable[[int], object],
    ) -> Subscription:
        room = self._room(context.data_scope)
        room.entering += 1
        try:
            await room.listening.wait()
            head = await self._events.head(room.scope)
            after = head if after_sequence is None else after_sequence
            if after > head:
                raise InvalidArgument("after_sequence: expected at most the thread's head")
            confirm(head)
            subscription = Subscription(context, receiver, after)
            room.subscriptions.add(subscription)
            if room.sequence is None:
                room.sequence = head
            self._chase(room)
            return subscription
        finally:
            room.entering -= 1
            self._leave(room)

    def _take_place(self, user: DataScope) -> None:
        if self._held[user] >= self._maximum_subscriptions:
            raise ResourceExhausted("expected fewer threads on all connections")
        self._held[user] += 1

    def _give_place(self, user: DataScope) -> None:
        self._held[user] -= 1
        if not self._held[user]:
            del self._held[user]

    def wake(self, scope: DataScope) -> None:
        """Looks at a thread at once, because this process has written to it."""
        if (room := self._rooms.get(scope)) is not None:
            room.look.set()

    async def stop(self) -> None:
        """Ends every room."""
        rooms = list(self._rooms.values())
        self._rooms.clear()
        self._held.clear()
        catching_up = [s.catching_up for room in rooms for s in room.subscriptions]
        pumps = [room.pump for room in rooms]
        for room in rooms:
            room.left.set()
        await end(task for task in (*catching_up, *pumps) if task is not None)

    def _room(self, scope: DataScope) -> _Room:
        room = self._rooms.get(scope)
        if room is None:
            room = self._rooms[scope] = _Room(scope)
            # An empty context of its own: a room outlives the request that opened it.
            room.pump = asyncio.create_task(self._run(room), name="room", context=Context())
        return room

    def _leave(self, room: _Room) -> None:
        if room.empty and self._rooms.get(room.scope) is room:
            del self._rooms[room.scope]
            room.left.set()
            if room.pump is not None:
                room.pump.cancel()

    async def _run(self, room: _Room) -> None:
        """Looks at every wake-up, and now and then without one, as long as the room lives."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(room), name="room's wake-ups", context=Context())
            while not room.left.is_set():
                await self._look(room)

    async def _listen(self, room: _Room) -> None:
        # Beside the pump's cancellation, which redis-py may swallow: see `services.runtime.tasks`.
        while not room.left.is_set():
            try:
                async with self._wake_ups.subscribed(room.scope, room.wake):
                    room.subscribed = True
                    room.listening.set()
                    await room.left.wait()
            except ServiceError as error:
                service_logger().warning("no wake-ups", code=error.code.name)
            except Exception as error:  # noqa: BLE001 -- a room without wake-ups still looks
                service_logger().error("wake-ups failed", **error_fields(error))
            finally:
                room.subscribed = False
            # Without wake-ups the room looks by itself.
            room.listening.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look_seconds):
                    await room.left.wait()

    def _pause_seconds(self, room: _Room) -> float:
        if room.subscribed and self._wake_ups.connected:
            return self._seldom_look_seconds * random.uniform(0.5, 1.0)  # noqa: S311 -- no secret
        return self._look_seconds

    async def _look(self, room: _Room) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pause_seconds(room)):
                await room.look.wait()
        room.look.clear()
        try:
            await self._hand_out(room)
        except ServiceError as error:
            service_logger().warning("room not read", code=error.code.name)
        except Exception as error:  # noqa: BLE001 -- the next look may go well
            service_logger().error("room failed", **error_fields(error))

    async def _hand_out(self, room: _Room) -> None:
        while room.sequence is not None:
            page = await self._events.events_after(room.scope, room.sequence)
            for event in page.events:
                frame = _frame(event)
                for subscription in self.recipients(room.scope):
                    subscription.offer(event.sequence, frame)
                room.sequence = event.sequence
            self._chase(room)
            if not page.events or room.sequence >= page.head_sequence:
                return

    def _chase(self, room: _Room) -> None:
        """Has every subscription that is behind read by itself."""
        for subscription in room.subscriptions:
            behind = room.sequence is not None and subscription.sequence < room.sequence
            if behind and subscription.catching_up is None:
                subscription.catching_up = asyncio.create_task(
                    self._catch_up(room, subscription), name="catch up", context=Context()
                )

    async def _catch_up(self, room: _Room, subscription: Subscription) -> None:
        context, receiver = subscription.context, subscription.receiver
        try:
            while room.sequence is not None and subscription.sequence < room.sequence:
                context.require_valid(datetime.now(UTC))
                # Few: they are held while the peer reads, or does not.
                page = await self._events.events_after(
                    context.data_scope, subscription.sequence, few=True
                )
                for event in page.events:
                    if not (await receiver.room() and receiver.send_text(_frame(event))):
                        return
                    subscription.sequence = event.sequence
                if not page.events:
                    return
        except (ContextError, ServiceError) as error:
            context_logger(context).warning("subscription not read", **error_fields(error))
        except Exception as error:  # noqa: BLE001 -- the room's next look starts it again
            context_logger(context).error("subscription failed", **error_fields(error))
        finally:
            # Nothing was awaited since the last comparison: the room's next event is the next one.
            subscription.catching_up = None


def _frame(event: Event) -> str:
    return json.dumps(event.envelope().to_json(), ensure_ascii=False, separators=(",", ":"))
