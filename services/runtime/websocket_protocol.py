"""The WebSocket protocol of uvicorn with bounds on what a peer may cost.

Through ASGI a peer that does not read cannot be closed, since `close` waits for its buffer to
drain. This subclass writes directly, says when there is room, and aborts the transport of a peer
that does not finish the closing handshake. It also keeps the query string, which may hold a
ticket, out of the scope that frameworks, logs and spans see. It rests on uvicorn's internals: the
version is pinned, and the tests of slow consumers stay.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.exceptions import InvalidState
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.server import ServerProtocol

# A message of 16 KiB, of which JSON may write every byte as six, and the fields around it.
MAXIMUM_FRAME_BYTES: Final = 128 * 1024
# Past asyncio's high-water mark of 64 KiB nothing but answers to the peer's own frames is written.
MAXIMUM_BUFFER_BYTES: Final = 1024 * 1024
# The kernel's buffer would grow to megabytes for a peer that does not read. It doubles this figure.
_KERNEL_BUFFER_BYTES: Final = 128 * 1024
CLOSE_SECONDS: Final = 1.0

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
TRY_AGAIN_LATER: Final = 1013
_INTERNAL_ERROR: Final = 1011  # what a missing pong is told with

_EXTENSION: Final = "watertight.socket"

# Not the root's level: at DEBUG websockets logs whole frames, and at INFO uvicorn their targets.
_QUIET = logging.getLogger("watertight.websocket")
_QUIET.setLevel(logging.WARNING)


class ClientSocket(WebSocketsSansIOProtocol):
    """One peer's connection: `uvicorn.Config(ws=ClientSocket)`, then `socket_of(scope)`.

    Close codes are those of RFC 6455, section 7.4, and of IANA's registry: 1001 when the server
    stops, 1009 for a message over 128 KiB, 1013 for a peer that does not read.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = _QUIET
        # No compression: it halves the throughput, and a secret beside chosen text would leak.
        self.conn = ServerProtocol(max_size=MAXIMUM_FRAME_BYTES, logger=_QUIET)
        self.query = ""
        self.ended_with: int | None = None
        """The code that this side closed with, if it was the first to close."""

    def handle_connect(self, event: Request) -> None:
        """Takes the query off the handshake's request before anybody else sees it."""
        event.path, _, self.query = event.path.partition("?")
        super().handle_connect(event)
        if not self.close_sent:
            kernel = self.transport.get_extra_info("socket")
            kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER_BYTES)
            # The endpoint's task has been made and has not begun.
            extensions: dict[str, Any] = {**(self.scope["extensions"] or {}), _EXTENSION: self}
            self.scope["extensions"] = extensions

    def handle_close(self, event: Frame) -> None:
        """Answers the peer's close, and does not wait for ever until it reads the answer."""
        super().handle_close(event)
        if self.close_timer is None:
            self._cut_off_later()

    def keepalive_timeout(self) -> None:
        """Gives up a peer that answers no ping, and does not wait until it reads that."""
        super().keepalive_timeout()
        self.ended_with = _INTERNAL_ERROR
        self._cut_off_later()

    def shutdown(self) -> None:
        """Says 1001 when the server stops, where uvicorn would say 1012, service restart."""
        if self.handshake_complete:
            self.end(GOING_AWAY, "the server stops")
        else:
            super().shutdown()

    def write_text(self, text: str) -> bool:
        """Writes a frame now; false when the connection is closing and took nothing.

        A buffer over 1 MiB ends the connection: its peer sends and does not read.
        """
        if self.close_sent or self.disconnected or self.transport.is_closing():
            return False
        try:
            self.conn.send_text(text.encode())
        except InvalidState:
            return False
        self.transport.write(b"".join(self.conn.data_to_send()))
        if self.transport.get_write_buffer_size() > MAXIMUM_BUFFER_BYTES:
            self.end(TRY_AGAIN_LATER, "slow consumer")
            return False
        return True

    @property
    def has_room(self) -> bool:
        """Whether the peer has read enough for more to be written."""
        return self.writable.is_set()

    async def room(self, limit_seconds: float) -> bool:
        """Waits until there is room; a peer that makes none in time is closed with 1013."""
        if not self.writable.is_set():
            try:
                async with asyncio.timeout(limit_seconds):
                    await self.writable.wait()
            except TimeoutError:
                self.end(TRY_AGAIN_LATER, "slow consumer")
        return not (self.close_sent or self.disconnected)

    def end(self, code: int, reason: str) -> None:
        """Closes with this code; whoever has not answered after 1 s is cut off."""
        if self.close_sent or self.disconnected:
            return
        self.ended_with = code
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        if not self.transport.is_closing():
            try:
                self.conn.send_close(code, reason)
            except InvalidState:
                pass  # the peer's own close came first
            else:
                self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self._cut_off_later()

    def _cut_off_later(self) -> None:
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(CLOSE_SECONDS, self.transport.abort)


def socket_of(scope: Any) -> ClientSocket:
    """The connection behind an endpoint's ASGI scope.

    Raises:
        TypeError: the server does not run with `ws=ClientSocket`.
    """
    socket = (scope.get("extensions") or {}).get(_EXTENSION)
    if not isinstance(socket, ClientSocket):
        raise TypeError("expected a server with ws=ClientSocket")
    return socket
