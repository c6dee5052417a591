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

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.exceptions import InvalidState
from websockets.frames import Frame
from websockets.http11 import Request

from services.runtime.websocket_handshake import Handshake

# A message of 16 KiB, of which JSON may write every byte as six, and the fields around it.
MAXIMUM_FRAME_BYTES: Final = 128 * 1024
# Past asyncio's high-water mark of 64 KiB nothing but answers to the peer's own frames is written.
MAXIMUM_BUFFER_BYTES: Final = 1024 * 1024
# The kernel's buffer would grow to megabytes for a peer that does not read. It doubles this figure.
_KERNEL_BUFFER_BYTES: Final = 128 * 1024
CLOSE_SECONDS: Final = 1.0
HANDSHAKE_SECONDS: Final = 5.0

# How much of what a peer sends is read before others have their turn: 1,365 frames at most.
_TURN_BYTES: Final = 8 * 1024
# Frames that are work and no message: pings, pongs, and pieces of a message below this size.
_SMALL_PIECE_BYTES: Final = 512
IDLE_FRAMES_PER_SECOND: Final = 100
IDLE_FRAMES_OF_STRANGERS: Final = 16

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
POLICY_VIOLATION: Final = 1008
TRY_AGAIN_LATER: Final = 1013
_INTERNAL_ERROR: Final = 1011  # what a missing pong is told with

_EXTENSION: Final = "watertight.socket"

# Not the root's level: at DEBUG websockets logs whole frames, and at INFO uvicorn their targets.
_QUIET = logging.getLogger("watertight.websocket")
_QUIET.setLevel(logging.WARNING)


class ClientSocket(WebSocketsSansIOProtocol):
    """One peer's connection: `uvicorn.Config(ws=ClientSocket)`, then `socket_of(scope)`.

    Close codes are those of RFC 6455, section 7.4, and of IANA's registry: 1001 when the server
    stops, 1008 for a flood of frames that are no messages, 1009 for a message over 128 KiB, 1013
    for a peer that does not read.
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
        self._handshake = Handshake(max_size=MAXIMUM_FRAME_BYTES)
        self.conn = self._handshake
        self.query = ""
        self.is_known = False
        """Whether the peer has authenticated: a stranger may send few frames that say nothing."""
        self.ended_with: int | None = None
        """The code that this side closed with, if it was the first to close."""
        self._unread = bytearray()
        self._turn: asyncio.Handle | None = None
        self._handshake_limit: asyncio.TimerHandle | None = None
        self._idle_frames = 0
        self._idle_frames_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Gives the handshake 5 s."""
        super().connection_made(transport)
        self._handshake_limit = self.loop.call_later(HANDSHAKE_SECONDS, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the limits, and what was not read."""
        self._handshake_came()
        self._unread.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Reads 8 KiB now and the rest in turn with others, as fast as the messages are taken."""
        self._unread += data
        if self._turn is None:
            self._read_on()

    async def receive(self) -> ASGIReceiveEvent:
        """The next message; the peer is read on once there is none."""
        message = await self.queue.get()
        if self.read_paused and self.queue.empty():
            self._resume()
        return message

    async def send(self, message: ASGISendEvent) -> None:
        """Sends; a refusal ends the handshake, which uvicorn would log as an endpoint's error."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True

    def _read_on(self) -> None:
        self._turn = None
        if self.disconnected:
            return
        turn = bytes(self._unread[:_TURN_BYTES])
        del self._unread[:_TURN_BYTES]
        super().data_received(turn)
        if not self.handshake_initiated and self.conn.handshake_exc is not None:
            self._refuse_handshake()
        if self.disconnected or self.transport.is_closing():
            return
        if self.ended_with == POLICY_VIOLATION:
            self.transport.pause_reading()  # nothing that it says matters any more
        elif self._unread:
            self.transport.pause_reading()
            if not self.read_paused:
                self._turn = self.loop.call_soon(self._read_on)
        elif not self.read_paused:
            self.transport.resume_reading()

    def _resume(self) -> None:
        self.read_paused = False
        if self._unread:
            if self._turn is None:
                self._turn = self.loop.call_soon(self._read_on)
        elif not self.transport.is_closing():
            self.transport.resume_reading()

    def handle_connect(self, event: Request) -> None:
        """Takes the query off the handshake's request before anybody else sees it."""
        self._handshake_came()
        event.path, _, self.query = event.path.partition("?")
        super().handle_connect(event)
        if not self.close_sent:
            kernel = self.transport.get_extra_info("socket")
            kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER_BYTES)
            # The endpoint's task has been made and has not begun.
            extensions: dict[str, Any] = {**(self.scope["extensions"] or {}), _EXTENSION: self}
            self.scope["extensions"] = extensions

    def handle_ping(self) -> None:
        """Answers a ping, of which there may be few."""
        self._count_idle_frame()
        super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        """Takes a pong, asked for or not."""
        self._count_idle_frame()
        super().handle_pong(event)

    def handle_text(self, event: Frame) -> None:
        """Takes a text or its first piece."""
        self._count_piece(event)
        super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        """Takes bytes or their first piece."""
        self._count_piece(event)
        super().handle_bytes(event)

    def handle_cont(self, event: Frame) -> None:
        """Takes another piece of a message."""
        self._count_piece(event)
        super().handle_cont(event)

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
        if code == POLICY_VIOLATION:
            self._unread.clear()
        if self.read_paused:
            self._resume()
        self._cut_off_later()

    def _count_piece(self, event: Frame) -> None:
        if not event.fin and len(event.data) < _SMALL_PIECE_BYTES:
            self._count_idle_frame()

    def _count_idle_frame(self) -> None:
        now = self.loop.time()
        if self.is_known and now - self._idle_frames_since >= 1.0:
            self._idle_frames, self._idle_frames_since = 0, now
        self._idle_frames += 1
        allowed = IDLE_FRAMES_PER_SECOND if self.is_known else IDLE_FRAMES_OF_STRANGERS
        if self._idle_frames > allowed:
            self.end(POLICY_VIOLATION, "too many frames that are no messages")

    def _handshake_came(self) -> None:
        if self._handshake_limit is not None:
            self._handshake_limit.cancel()
            self._handshake_limit = None

    def _refuse_handshake(self) -> None:
        self._handshake_came()
        self.transport.write(self._handshake.refusal())
        self.transport.close()

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
