"""uvicorn as one part of a process that owns its own signals, with limits before the first request.

uvicorn bounds neither the bytes nor the time of a request's headers; `LimitedHttpProtocol` does.
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
KEEP_ALIVE_SECONDS: Final = 30
MAXIMUM_FRAME_BYTES: Final = 64 * 1024
_STARTED_POLL_SECONDS: Final = 0.005


class _HeadersTooLarge(Exception):
    """Ends the parsing of a request."""


class LimitedHttpProtocol(HttpToolsProtocol):
    """Ends a connection whose request line and headers are too long or too slow."""

    _header_bytes = 0
    _in_headers = False
    _header_limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Gives the first request's headers 10 s."""
        super().connection_made(transport)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the limit."""
        self._headers_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Counts what belongs to headers that do not end."""
        super().data_received(data)
        if self._in_headers:
            self._header_bytes += len(data)
            if self._header_bytes > MAXIMUM_HEADER_BYTES and not self.transport.is_closing():
                self.send_400_response("headers")

    def on_message_begin(self) -> None:
        """Another request on the same connection has the same limits."""
        super().on_message_begin()
        if self._header_limit is None:
            self._expect_headers()

    def on_headers_complete(self) -> None:
        """The headers have come, in time; those that came at once have a limit, too."""
        self._headers_came()
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MAXIMUM_HEADER_BYTES:
            raise _HeadersTooLarge
        super().on_headers_complete()

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
