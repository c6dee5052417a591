"""The WebSockets of the audit: standing subscriptions, and requests over them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Final

from contracts.context.carriers.websocket import EVENT_TYPES
from integration.audit import (
    Call,
    Channel,
    Issued,
    Observation,
    Scope,
    Subscription,
    SubscriptionRefusedError,
)
from integration.clients.answers import ClientError, Refused
from integration.clients.websocket import WebSocketTestClient
from integration.systems.watertight.connections import SharedConnections
from integration.systems.watertight.description import EVENTS
from integration.systems.watertight.directory import Directory

_CONTROL_FRAMES: Final = "control-frames"


def owns(call: Call) -> bool:
    """Whether a call asks for what its principal may have."""
    return not call.absent and call.principal.authority.contains(call.scope)


class Sockets:
    """Open WebSockets by principal and thread. Requests go over them where there are any."""

    def __init__(
        self, connections: SharedConnections, directory: Directory, limit_seconds: float
    ) -> None:
        self._connections = connections
        self._directory = directory
        self._limit_seconds = limit_seconds
        self._open: dict[tuple[str, Scope], list[WebSocketTestClient]] = {}

    @contextlib.asynccontextmanager
    async def subscribed(
        self, subscription: Subscription, issue: Callable[[Issued], None]
    ) -> AsyncIterator[AsyncIterator[Observation]]:
        """A connection that listens to one thread; gives every frame that it brings.

        Raises:
            SubscriptionRefusedError: the system refused the connection or the subscription.
        """
        principal = subscription.principal.name
        token = await self._directory.token(principal)
        try:
            client = await self._admissible(subscription, token)
            await client.__aenter__()
        except ClientError as error:
            raise SubscriptionRefusedError(_status(error)) from error
        try:
            issue(Issued("connection", client.connection_id, subscription.principal.scope))
            await client.subscribe(self._directory.threads[subscription.scope])
        except ClientError as error:
            await client.close()
            raise SubscriptionRefusedError(_status(error)) from error
        place = (principal, subscription.scope)
        self._open.setdefault(place, []).append(client)
        try:
            yield _observations(client, subscription)
        finally:
            self._open[place].remove(client)
            await client.close()

    async def _admissible(self, subscription: Subscription, token: str) -> WebSocketTestClient:
        """A client that is about to connect: every second one by a ticket, as a browser would."""
        number = subscription.number
        by_ticket = number % 2 == 1
        ticket = None
        if by_ticket:
            issued = await self._connections.backend_numbered(number, token).websocket_ticket()
            ticket = issued.ticket
        return WebSocketTestClient(
            token=None if by_ticket else token,
            ticket=ticket,
            base_url=self._connections.backend_url(number + 1),
            # Equal labels of different users, which must meet nothing.
            client_id=f"tab-{number % 2}",
            limit_seconds=self._limit_seconds,
        )

    @contextlib.asynccontextmanager
    async def of(self, call: Call, token: str) -> AsyncIterator[WebSocketTestClient]:
        """A connection of the call's principal: a standing one, else one for this call alone.

        What is the principal's own is asked for on the connections that listen to it; what is
        another's, or nobody's, on any: should it be given, it comes where it must not.
        """
        own = owns(call)
        standing = [
            client
            for (principal, scope), clients in self._open.items()
            if principal == call.principal.name and (scope == call.scope or not own)
            for client in clients
            if not client.closed
        ]
        if standing:
            yield standing[call.number % len(standing)]
            return
        async with self.fresh(call, token) as client:
            yield client

    def fresh(self, call: Call, token: str) -> WebSocketTestClient:
        """A connection for one call alone; open inside `async with`."""
        return WebSocketTestClient(
            token=token,
            base_url=self._connections.backend_url(call.number),
            limit_seconds=self._limit_seconds,
        )


def _status(error: ClientError) -> str:
    return error.code if isinstance(error, Refused) else type(error).__name__


async def _observations(
    client: WebSocketTestClient, subscription: Subscription
) -> AsyncIterator[Observation]:
    source = f"backend: WebSocket of {subscription.principal.name}"
    async for text in client.texts():
        frame = json.loads(text)
        event = frame["type"] in EVENT_TYPES
        yield Observation(
            Channel.WEBSOCKET,
            text,
            source=source,
            stream=EVENTS if event else _CONTROL_FRAMES,
            sequence=frame["sequence"] if event else None,
        )
