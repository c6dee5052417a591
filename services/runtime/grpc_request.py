"""The one request of a gRPC call, waited for with a limit.

Methods are registered as streams of requests, which is the same on the wire: gRPC calls the handler
of a single request only once that has come, and waits for it as long as the caller likes.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import grpc.aio

from services.runtime.errors import InvalidArgument

MALFORMED_REQUEST: Final = "request: expected a message of the method's type"
REQUEST_SECONDS: Final = 2.0


async def read_request(context: grpc.aio.ServicerContext[Any, Any]) -> Any:
    """The call's first request. Further ones are never read.

    Raises:
        InvalidArgument: the caller sends none, or not within 2 s.
    """
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            request = await context.read()
    except TimeoutError:
        # The caller's fault: the service has not failed.
        raise InvalidArgument("request: expected it within its time") from None
    if request is grpc.aio.EOF:
        raise InvalidArgument(MALFORMED_REQUEST)
    return request
