"""Requests with headers, metadata or first frames as they are, good or bad, and their answers."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio
import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

Pairs = Sequence[tuple[str, str | bytes]]

_LIMIT_SECONDS: Final = 10.0
_ABNORMAL: Final = "1006"  # RFC 6455, section 7.4.1
# Loading the system's authorities takes longer than a request.
_NO_AUTHORITIES: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
UNTYPED: Final = "untyped"
"""The code of an HTTP error that is none of ours."""


@dataclass(frozen=True, slots=True)
class Said:
    """An answer: its code, and all else that came with it, as text."""

    code: str
    text: str = ""


Send = Callable[[Pairs], Awaitable[Said]]


def http_client(limit_seconds: float) -> httpx.AsyncClient:
    """A client without memory, which is cheap to make: nothing here speaks TLS."""
    return httpx.AsyncClient(trust_env=False, timeout=limit_seconds, verify=_NO_AUTHORITIES)


def over_http(url: str, method: str, path: str, body: object = None) -> Send:
    """Sends headers to a route; the answer's code is the error's."""

    async def send(pairs: Pairs) -> Said:
        headers: Any = list(pairs)
        async with http_client(_LIMIT_SECONDS) as client:
            answer = await client.request(method, f"{url}{path}", headers=headers, json=body)
        text = f"{answer.headers.multi_items()} {answer.text}"
        return Said("OK" if answer.is_success else _error_code(answer), text)

    return send


def _error_code(answer: httpx.Response) -> str:
    try:
        error = answer.json()["error"]
        typed = error["code"].isupper() and error["message"] and error["request_id"]
        return str(error["code"]) if typed else UNTYPED
    except (ValueError, KeyError, TypeError, AttributeError):
        return UNTYPED


def over_grpc(target: str, path: str, message: bytes, *, streaming: bool = False) -> Send:
    """Sends metadata to a method; the answer's code is the status.

    Of a stream of answers it takes the first.
    """

    async def send(pairs: Pairs) -> Said:
        async with grpc.aio.insecure_channel(target) as channel:
            answer: bytes
            try:
                if streaming:
                    # Not for the others: a refusal that comes while a stream still sends can be
                    # INTERNAL to the client's own library.
                    stream: Any = channel.stream_stream(path)
                    call = stream(iter([message]), metadata=tuple(pairs), timeout=_LIMIT_SECONDS)
                    answer = await call.read()
                    metadata = [*await call.initial_metadata()]
                    call.cancel()
                else:
                    method: Any = channel.unary_unary(path)
                    call = method(message, metadata=tuple(pairs), timeout=_LIMIT_SECONDS)
                    answer = await call
                    metadata = [*await call.initial_metadata(), *await call.trailing_metadata()]
            except grpc.aio.AioRpcError as error:
                metadata = [*(error.initial_metadata() or ()), *(error.trailing_metadata() or ())]
                return Said(error.code().name, f"{_plain(metadata)} {error.details()}")
        return Said("OK", f"{_plain(metadata)} {answer.decode('latin-1')}")

    return send


def _plain(metadata: Iterable[tuple[str, str | bytes]]) -> list[tuple[str, str | bytes]]:
    return [(str(name), value) for name, value in metadata]


async def over_websocket(
    url: str, first: Sequence[str] = (), query: str = "", origin: Any = None
) -> Said:
    """Sends frames, each after the answer to the one before; the last answer's code.

    That is a close code, HTTP's status, the code of an error frame, or else the frame's type.
    """
    target = f"{url.replace('http', 'ws', 1)}/ws{query}"
    heard: list[str] = []
    try:
        async with connect(target, origin=origin, proxy=None) as connection:
            if query:
                first = ("", *first)  # a ticket is answered without being asked
            for frame in first:
                if frame:
                    await connection.send(frame)
                async with asyncio.timeout(_LIMIT_SECONDS):
                    heard.append(str(await connection.recv()))
    except InvalidStatus as error:
        body = (error.response.body or b"").decode("latin-1")
        return Said(str(error.response.status_code), f"{error.response.headers} {body}")
    except ConnectionClosed as error:
        if error.rcvd is None:
            return Said(_ABNORMAL, " ".join(heard))
        return Said(str(error.rcvd.code), " ".join((*heard, error.rcvd.reason)))
    answer = json.loads(heard[-1])
    return Said(str(answer.get("code", answer["type"])), " ".join(heard))


def bearer(token: str) -> tuple[str, str]:
    """The header, or metadata, of an access token."""
    return "authorization", f"Bearer {token}"
