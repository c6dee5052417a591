"""Requests with headers, metadata or first frames as they are, good or bad, and their answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import grpc
import grpc.aio
import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

Pairs = Sequence[tuple[str, str | bytes]]
Send = Callable[[Pairs], Awaitable[str]]

_LIMIT_SECONDS: Final = 10.0


def over_http(url: str, method: str, path: str, body: object = None) -> Send:
    """Sends headers to a route; the answer is the error's code."""

    async def send(pairs: Pairs) -> str:
        headers: Any = list(pairs)
        async with httpx.AsyncClient(trust_env=False, timeout=_LIMIT_SECONDS) as client:
            answer = await client.request(method, f"{url}{path}", headers=headers, json=body)
        if answer.is_success:
            return "OK"
        code: str = answer.json()["error"]["code"]
        return code

    return send


def over_grpc(target: str, path: str, message: bytes) -> Send:
    """Sends metadata to a method; the answer is the status."""

    async def send(pairs: Pairs) -> str:
        async with grpc.aio.insecure_channel(target) as channel:
            method: Any = channel.unary_unary(path)
            try:
                await method(message, metadata=tuple(pairs), timeout=_LIMIT_SECONDS)
            except grpc.aio.AioRpcError as error:
                return error.code().name
        return "OK"

    return send


async def over_websocket(url: str, first: str | None, query: str = "", origin: Any = None) -> str:
    """Sends a first frame, or none; the answer is the close code, or HTTP's status."""
    target = f"{url.replace('http', 'ws', 1)}/ws{query}"
    try:
        async with connect(target, origin=origin, proxy=None) as connection:
            if first is not None:
                await connection.send(first)
            async with asyncio.timeout(_LIMIT_SECONDS):
                frame = await connection.recv()
            return str(json.loads(frame)["type"])
    except InvalidStatus as error:
        return str(error.response.status_code)
    except ConnectionClosed as error:
        return "1006" if error.rcvd is None else str(error.rcvd.code)


def bearer(token: str) -> tuple[str, str]:
    """The header, or metadata, of an access token."""
    return "authorization", f"Bearer {token}"
