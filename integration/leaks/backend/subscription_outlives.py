"""What was once subscribed is delivered for ever: to who left the thread, and to who logged out."""

from __future__ import annotations

from contracts.context import Principal
from services.backend.hub import Hub, Subscription
from services.runtime.websocket import WebSocketEdge


def _forget_to_leave(hub: Hub, subscription: Subscription) -> None:
    del hub, subscription


def _trust_for_ever(edge: WebSocketEdge, principal: Principal) -> None:
    del edge, principal


def install() -> None:
    """Replaces `Hub.unsubscribe`, and the edge's question whether a log-in is still valid."""
    Hub.unsubscribe = _forget_to_leave  # type: ignore[method-assign,assignment]
    WebSocketEdge._require_valid = _trust_for_ever  # type: ignore[method-assign,assignment]  # noqa: SLF001 -- a defect takes what it wants
