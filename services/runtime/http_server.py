"""uvicorn as one part of a process that owns its own signals, with limits before the first request.

uvicorn bounds neither the bytes nor the time of a request's headers, of what follows them, or of
silence between requests; `LimitedHttpProtocol` does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any, Final, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.runtime.calls import new_id

MAXIMUM_HEADER_BYTES: Final = 16 * 1024
HEADER_SECONDS: Final = 10.0
# Longer than any answer takes: it ends what still comes when nobody waits for it any more.
BODY_SECONDS: Final = 12.0
# A body of 64 KiB in chunks of one byte, six bytes each. Trailers and chunk extensions count, too.
MAXIMUM_BODY_WIRE_BYTES: Final = 512 * 1024
# How long the rest of a body may take once it has been answered: cut off at once, a caller that
# still writes would lose the answer.
LINGER_SECONDS: Final = 1.0
KEEP_ALIVE_SECONDS: Final = 30
MAXIMUM_FRAME_BYTES: Final = 64 * 1024
_STARTED_POLL_SECONDS: Final = 0.005


class _HeadersTooLarge(Exception):
    """Ends the parsing of a request."""


class LimitedHttpProtocol(HttpToolsProtocol):
    """Ends a connection whose requests are too long or too slow, or that idles.

    Trailer fields (RFC 9110, section 6.5) are discarded: they came after the headers were judged.
    """

    _header_bytes = 0
    _in_headers = False
    _header_limit: asyncio.TimerHandle | None = None
    _body_bytes = 0
    _in_body = False
    _body_limit: asyncio.TimerHandle | None = None
    _idle_limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Gives the first request's headers 10 s."""
        super().connection_made(transport)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the limits."""
        self._headers_came()
        self._body_came()
        self._idle_ended()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Counts what belongs to headers, or to a body and its trailers, that do not end."""
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_headers:
            self._header_bytes += len(data)
            if self._header_bytes > MAXIMUM_HEADER_BYTES:
                self.send_400_response("headers")
        elif self._in_body:
            self._body_bytes += len(data)
            if self._body_bytes > MAXIMUM_BODY_WIRE_BYTES:
                self.transport.abort()
            elif self._body_limit is None:
                self._end_body_within(BODY_SECONDS)

    def on_message_begin(self) -> None:
        """Another request on the same connection has the same limits."""
        super().on_message_begin()
        self._idle_ended()
        if self._header_limit is None:
            self._expect_headers()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; what comes after the headers is a trailer, and nobody's."""
        if self._in_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The headers have come, in time; those that came at once have a limit, too."""
        self._headers_came()
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MAXIMUM_HEADER_BYTES:
            raise _HeadersTooLarge
        self._in_body, self._body_bytes = True, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._body_came()
        super().on_message_complete()
        if self.cycle is not None and self.cycle.response_complete:
            self._idle()

    def on_response_complete(self) -> None:
        """Between two requests a connection may idle; the rest of a body must come soon."""
        super().on_response_complete()
        if self.transport.is_closing() or not self.cycle.response_complete:
            return  # another request waits for its answer
        if self._in_body:
            self._end_body_within(LINGER_SECONDS)
        elif not self._in_headers:
            self._idle()

    def handle_websocket_upgrade(self) -> None:
        """Leaves the connection, and its limits, to the WebSocket protocol."""
        self._headers_came()
        self._body_came()
        self._idle_ended()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Answers what is no request in the services' own shape, and ends the connection."""
        del msg  # uvicorn's words
        self._headers_came()
        detail = {
            "code": "INVALID_ARGUMENT",
            "message": f"expected HTTP/1.1 with headers of at most {MAXIMUM_HEADER_BYTES} bytes",
            "request_id": new_id(),
        }
        body = json.dumps({"error": detail}).encode()
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
        self.transport.close()

    def _expect_headers(self) -> None:
        self._in_headers = True
        self._header_bytes = 0
        self._header_limit = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def _headers_came(self) -> None:
        self._in_headers = False
        if self._header_limit is not None:
            self._header_limit.cancel()
            self._header_limit = None

    def _end_body_within(self, seconds: float) -> None:
        if self._body_limit is not None:
            self._body_limit.cancel()
        self._body_limit = self.loop.call_later(seconds, self.transport.abort)

    def _body_came(self) -> None:
        self._in_body = False
        if self._body_limit is not None:
            self._body_limit.cancel()
            self._body_limit = None

    def _idle(self) -> None:
        # uvicorn's own limit begins anew with any byte, as with the empty lines before a request.
        self._idle_ended()
        self._idle_limit = self.loop.call_later(KEEP_ALIVE_SECONDS, self.transport.close)

    def _idle_ended(self) -> None:
        if self._idle_limit is not None:
            self._idle_limit.cancel()
            self._idle_limit = None


class HttpServer(uvicorn.Server):
    """uvicorn, which leaves signals to the process, and tells its port.

    Args:
        app: the application.
        host, port: where to listen; port 0: the kernel chooses.
        websocket_protocol: uvicorn's name or class of one; never its deprecated `websockets`.
        grace_seconds: how long requests may take to finish at the end.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str,
        port: int,
        websocket_protocol: str | type[asyncio.Protocol],
        grace_seconds: int,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                http=LimitedHttpProtocol,
                ws=cast("Any", websocket_protocol),
                ws_per_message_deflate=False,
                ws_max_size=MAXIMUM_FRAME_BYTES,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                # Without it one request's context variables are the next one's on its connection.
                reset_contextvars=True,
                timeout_graceful_shutdown=grace_seconds,
                # Longer than clients keep theirs, or they meet a connection that just closed.
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
            )
        )
        self._serving: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the process."""
        yield

    async def listen(self) -> int:
        """Starts to serve, and tells the port.

        Raises:
            OSError: the address cannot be bound.
        """
        host, port = self.config.host, self.config.port
        # Bound here: uvicorn would leave the process by itself when it cannot.
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=self.config.backlog)
        listening.setblocking(False)
        self._serving = asyncio.create_task(self.serve([listening]), name="http server")
        while not self.started:
            await asyncio.sleep(_STARTED_POLL_SECONDS)
            if self._serving.done():
                self._serving.result()
        bound: int = listening.getsockname()[1]
        return bound

    def accept_no_more(self) -> None:
        """Closes the listening socket; connections stay."""
        for server in self.servers:
            server.close()

    async def finish(self) -> None:
        """Lets requests finish within the grace, and ends the rest."""
        self.should_exit = True
        if self._serving is not None:
            await self._serving
