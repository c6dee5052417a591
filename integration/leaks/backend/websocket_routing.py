"""Events go to every connection of the tenant, for clients to pick theirs."""

from __future__ import annotations

from collections.abc import Collection

from contracts.context import DataScope
from services.backend.hub import Hub, Subscription


class Bystander(Subscription):
    """Another thread's subscription, which gets this thread's event as well."""

    def __init__(self, subscription: Subscription) -> None:
        super().__init__(subscription.context, subscription.receiver, subscription.sequence)

    def offer(self, sequence: int, frame: str) -> None:
        """Sends it, whatever this subscription has had."""
        del sequence
        self.receiver.send_text(frame)


def _recipients(hub: Hub, scope: DataScope) -> Collection[Subscription]:
    rooms = {room.scope: tuple(room.subscriptions) for room in hub._rooms.values()}  # noqa: SLF001 -- a leak takes what it wants
    own = rooms.pop(scope, ())
    bystanders = [
        Bystander(subscription)
        for other, subscriptions in rooms.items()
        if other.tenant_id == scope.tenant_id
        for subscription in subscriptions
    ]
    return (*own, *bystanders)


def install() -> None:
    """Replaces `Hub.recipients`."""
    Hub.recipients = _recipients  # type: ignore[method-assign,assignment]
