"""Whatever a client does not read is kept in the server's memory for it."""

from __future__ import annotations

from services.runtime import websocket_protocol
from services.runtime.websocket_protocol import ClientSocket


async def _always(socket: ClientSocket, limit_seconds: float) -> bool:
    del limit_seconds
    return not (socket.close_sent or socket.disconnected)


def install() -> None:
    """Replaces the bound of a socket's buffer, and every question whether there is room."""
    websocket_protocol.MAXIMUM_BUFFER_BYTES = 2**40  # type: ignore[misc]
    ClientSocket.has_room = property(lambda _: True)  # type: ignore[method-assign,assignment]
    ClientSocket.room = _always  # type: ignore[method-assign,assignment]
