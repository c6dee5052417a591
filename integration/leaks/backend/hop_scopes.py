"""A hop asks for all that its caller may do, and hands it on."""

from __future__ import annotations

from typing import TypeVar

import grpc.aio
from google.protobuf.message import Message

from contracts.context import Scope
from services.runtime.calls import EdgeCall
from services.runtime.grpc_client import HOP_SECONDS, HopClient

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)

_call = HopClient.call


async def _wide(
    client: HopClient,
    method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
    request: Request,
    caller: EdgeCall,
    *,
    scopes: frozenset[Scope],
    timeout_seconds: float = HOP_SECONDS,
) -> Response:
    return await _call(
        client,
        method,
        request,
        caller,
        scopes=scopes | caller.context.scopes,
        timeout_seconds=timeout_seconds,
    )


def install() -> None:
    """Replaces `HopClient.call`."""
    HopClient.call = _wide  # type: ignore[method-assign,assignment]
