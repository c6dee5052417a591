"""Events go to every connection of the process, for clients to pick theirs."""

from __future__ import annotations

from collections.abc import Collection

from contracts.context import DataScope
from integration.leaks.backend.websocket_routing import Bystander
from services.backend.hub import Hub, Subscription


def _recipients(hub: Hub, scope: DataScope) -> Collection[Subscription]:
    rooms = {room.scope: tuple(room.subscriptions) for room in hub._rooms.values()}  # noqa: SLF001 -- a defect takes what it wants
    own = rooms.pop(scope, ())
    return (*own, *(Bystander(each) for others in rooms.values() for each in others))


def install() -> None:
    """Replaces `Hub.recipients`."""
    Hub.recipients = _recipients  # type: ignore[method-assign,assignment]
