"""The opening handshake of a WebSocket (RFC 6455, section 4.2), refused in the services' own words.

The library's refusals quote what the caller sent, and it logs them as errors.
"""

from __future__ import annotations

import json
import logging
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from websockets.datastructures import Headers
from websockets.http11 import Response
from websockets.server import ServerProtocol

from services.runtime.calls import new_id
from services.runtime.errors import Internal, InvalidArgument, NotFound, ServiceError, Unimplemented
from services.runtime.logging import service_logger
from services.runtime.metrics import refuse

_EXPECTED: Final = "expected a WebSocket handshake: GET over HTTP/1.1 without a body, version 13"

_SILENT = logging.getLogger("watertight.websocket.handshake")
_SILENT.disabled = True


class Handshake(ServerProtocol):
    """The library's protocol, whose refusals are typed, counted and quote nothing."""

    def __init__(self, *, max_size: int) -> None:
        super().__init__(max_size=max_size, logger=_SILENT)

    def reject(self, status: HTTPStatus | int, text: str) -> Response:
        """An answer that opens no connection. `text`, the library's words, is not used."""
        del text
        status, error = _told(HTTPStatus(status))
        request_id = new_id()
        refuse("websocket", error, service_logger(), request_id=request_id)
        detail = {"code": error.code.name, "message": error.message, "request_id": request_id}
        body = json.dumps({"error": detail}).encode()
        headers = Headers(
            {
                "Date": formatdate(usegmt=True),
                "Connection": "close",
                "Content-Length": str(len(body)),
                "Content-Type": "application/json",
            }
        )
        if isinstance(error, InvalidArgument):
            headers["Sec-WebSocket-Version"] = "13"  # section 4.4
        return Response(status, status.phrase, headers, body)

    def refusal(self) -> bytes:
        """What answers a request that could not even be read."""
        written = b"".join(self.data_to_send())
        return written or self.reject(HTTPStatus.BAD_REQUEST, "").serialize()


def _told(status: HTTPStatus) -> tuple[HTTPStatus, ServiceError]:
    if status is HTTPStatus.FORBIDDEN:
        # Nobody accepts WebSockets there. Who is refused for other reasons gets an answer of ours.
        return HTTPStatus.NOT_FOUND, NotFound("there is no such path")
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        return status, Unimplemented(_EXPECTED)
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        return status, Internal()
    return status, InvalidArgument(_EXPECTED)
