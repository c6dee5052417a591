"""Malformed requests to the standard services, health and reflection, which gRPC itself parses.

Its own answer is UNKNOWN, with the parser's words. Our methods parse for themselves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

MALFORMED_REQUEST: Final = "request: expected a message of the method's type"

_MALFORMED: Final = object()

Context = grpc.aio.ServicerContext[Any, Any]


class RefuseMalformed(grpc.aio.ServerInterceptor):
    """Answers bytes that are no message of the method's type with INVALID_ARGUMENT."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The method's handler, with its parser guarded where it has one."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_deserializer is None:
            return handler
        codec = {
            "request_deserializer": _guarded(handler.request_deserializer),
            "response_serializer": handler.response_serializer,
        }
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(_one(handler.unary_unary), **codec)
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(_one(handler.unary_stream), **codec)
        if handler.stream_stream:
            return grpc.stream_stream_rpc_method_handler(_many(handler.stream_stream), **codec)
        raise NotImplementedError("a stream of requests with one answer")


def _guarded(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def guarded(encoded: bytes) -> Any:
        try:
            return parse(encoded)
        except DecodeError:
            return _MALFORMED

    return guarded


def _one(behaviour: Callable[[Any, Context], Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def answer(request: Any, context: Context) -> Any:
        await _require_parsed(request, context)
        return await behaviour(request, context)

    return answer


def _many(behaviour: Callable[[Any, Context], AsyncIterator[Any]]) -> Callable[..., Any]:
    async def answer(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        async def parsed() -> AsyncIterator[Any]:
            async for request in requests:
                await _require_parsed(request, context)
                yield request

        async for response in behaviour(parsed(), context):
            yield response

    return answer


async def _require_parsed(request: Any, context: Context) -> None:
    if request is _MALFORMED:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, MALFORMED_REQUEST)
