"""The standing connections of an audit: its users' own, strangers' attempts, and observers'."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from integration.audit.adapter import Observation, Subscription
from integration.audit.driver import Driver
from integration.audit.encodings import as_text
from integration.audit.errors import SubscriptionRefusedError
from integration.audit.population import Principal
from integration.audit.records import Closing, NoteKind
from integration.audit.scopes import Scope
from integration.audit.system import SubscriptionPlan


@dataclass(slots=True)
class _Listener:
    """One connection while it is open."""

    subscription: Subscription
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the system has acknowledged or refused it."""
    since: int = 0
    """When it was acknowledged, in nanoseconds."""
    seen: set[str] = field(default_factory=set)
    open: bool = False

    @property
    def own(self) -> bool:
        return self.subscription.principal.authority.contains(self.subscription.scope)


class Listeners:
    """Opens connections, records what they bring, and closes them."""

    def __init__(self, driver: Driver) -> None:
        """Begin with no connection."""
        self._driver = driver
        self._listeners: list[_Listener] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, connections: Iterable[tuple[SubscriptionPlan, Principal, Scope]]) -> None:
        """Open connections, and return when each was acknowledged or refused, or has failed."""
        opened = []
        for plan, principal, scope in connections:
            number = len(self._listeners)
            listener = _Listener(Subscription(number, plan, principal, scope))
            self._listeners.append(listener)
            opened.append(listener)
            self._tasks.append(asyncio.create_task(self._listen(listener)))
        limit = self._driver.description.operation_limit_seconds
        try:
            async with asyncio.timeout(limit):
                for listener in opened:
                    await listener.answered.wait()
        except TimeoutError:
            late = sum(not listener.answered.is_set() for listener in opened)
            self._driver.history.note(
                NoteKind.SUBSCRIPTION, f"{late} connections were not answered within {limit:g} s"
            )

    async def watch(self) -> None:
        """Let the adapter's observers see along, and return when they do."""
        ready = asyncio.Event()
        self._tasks.append(asyncio.create_task(self._watch(ready)))
        limit = self._driver.description.operation_limit_seconds
        try:
            async with asyncio.timeout(limit):
                await ready.wait()
        except TimeoutError:
            self._driver.fault(f"watch() was not entered within {limit:g} s")

    def caught_up(self, revoked: set[str]) -> bool:
        """Tell whether every owner's open connection has brought what was acknowledged."""
        return not any(
            listener.open
            and listener.own
            and listener.subscription.principal.name not in revoked
            and self._driver.promises.missing(
                listener.subscription.plan.stream,
                listener.subscription.scope,
                listener.seen,
                listener.since,
            )
            for listener in self._listeners
        )

    async def close(self) -> None:
        """Close everything, within the operations' limit."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            limit = self._driver.description.operation_limit_seconds
            _, pending = await asyncio.wait(self._tasks, timeout=limit)
            if pending:
                self._driver.fault(f"{len(pending)} connections did not close within {limit:g} s")
        self._tasks.clear()

    async def _listen(self, listener: _Listener) -> None:
        subscription = listener.subscription
        history = self._driver.history
        try:
            async with self._driver.adapter.subscribe(subscription) as observations:
                history.subscribed(subscription)
                listener.since = history.time()
                listener.open = True
                listener.answered.set()
                await self._record(listener, observations)
            history.unsubscribed(subscription.number, Closing.SERVER)
        except SubscriptionRefusedError as error:
            history.unsubscribed(subscription.number, Closing.REFUSED, error.status)
            if listener.own:
                text = f"{subscription.plan.name} refused {subscription.principal.name}: {error}"
                history.note(NoteKind.SUBSCRIPTION, text)
        except asyncio.CancelledError:
            if listener.open:
                history.unsubscribed(subscription.number, Closing.FINISHED)
            raise
        except Exception as error:  # noqa: BLE001 - whatever an adapter raises is its fault
            self._driver.fault(f"{subscription.plan.name} raised {error!r}")
        finally:
            listener.open = False
            listener.answered.set()

    async def _record(self, listener: _Listener, observations: AsyncIterator[Observation]) -> None:
        number = listener.subscription.number
        async for observation in observations:
            self._driver.observe(observation, number)
            listener.seen |= self._driver.promises.found([as_text(observation.data)])

    async def _watch(self, ready: asyncio.Event) -> None:
        try:
            async with self._driver.adapter.watch() as observations:
                ready.set()
                async for observation in observations:
                    self._driver.observe(observation)
        except Exception as error:  # noqa: BLE001 - whatever an adapter raises is its fault
            self._driver.fault(f"watch() raised {error!r}")
        finally:
            ready.set()
