"""One authenticated WebSocket connection: its caller, its frames, its bounds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from starlette.websockets import WebSocket

from contracts.context import ClientLabel, Principal, UserExecutionContext, open_context
from services.runtime.calls import new_id
from services.runtime.errors import ServiceError, close_code
from services.runtime.logging import context_logger
from services.runtime.websocket_frames import MalformedFrame
from services.runtime.websocket_protocol import ClientSocket, socket_of


class ClientConnection:
    """One connection of one log-in. `connection_id` is the server's; the label is the caller's."""

    def __init__(
        self,
        websocket: WebSocket,
        principal: Principal,
        label: ClientLabel | None,
        *,
        slow_consumer_seconds: float,
    ) -> None:
        self.connection_id: Final = new_id()
        self.principal: Final = principal
        self.label: Final = label
        self.log: Final = context_logger(self.context(), connection_id=self.connection_id)
        self._websocket = websocket
        self._socket: Final[ClientSocket] = socket_of(websocket.scope)
        self._slow_consumer_seconds = slow_consumer_seconds

    def context(self) -> UserExecutionContext:
        """The caller's own context, for one more request.

        Raises:
            ContextExpired: the log-in has expired.
        """
        return open_context(
            self.principal,
            None,
            None,
            now=datetime.now(UTC),
            new_id=new_id,
            websocket_client_id=self.label,
        )

    def send(self, frame: Mapping[str, object]) -> bool:
        """Writes a frame as JSON; false when the connection is closing."""
        return self.send_text(json.dumps(frame, ensure_ascii=False, separators=(",", ":")))

    def send_text(self, text: str) -> bool:
        """Writes a frame that is JSON already; false when the connection is closing."""
        return self._socket.write_text(text)

    @property
    def has_room(self) -> bool:
        """Whether the peer has read enough for more to be written."""
        return self._socket.has_room

    async def room(self) -> bool:
        """Waits until there is room; false when the connection is closing, for slowness too."""
        return await self._socket.room(self._slow_consumer_seconds)

    async def receive(self) -> str | None:
        """The peer's next text, once it has read its answers; `None` when the connection ends.

        Raises:
            MalformedFrame: it sent bytes.
        """
        if not await self.room():
            return None
        return await receive_text(self._websocket)

    @property
    def ended_with(self) -> int | None:
        """The code that the server closed with; `None` while it is open or where the peer left."""
        return self._socket.ended_with

    def close(self, error: ServiceError) -> None:
        """Ends the connection with the code of this error."""
        self._socket.end(close_code(error), error.message)

    def go_away(self) -> None:
        """Ends the connection because the server stops."""
        self._socket.shutdown()


async def receive_text(websocket: WebSocket) -> str | None:
    """The peer's next text; `None` when the connection ends.

    Raises:
        MalformedFrame: it sent bytes.
    """
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        return None
    text = message.get("text")
    if not isinstance(text, str):
        raise MalformedFrame
    return text
