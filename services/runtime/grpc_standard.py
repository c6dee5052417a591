"""The standard services, health and reflection: anybody may call them, so each has bounds.

gRPC itself would wait for their requests without a limit, and tell a malformed one with UNKNOWN and
its parser's words.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from services.runtime.errors import InvalidArgument, ResourceExhausted, ServiceError, from_error
from services.runtime.grpc_request import MALFORMED_REQUEST, read_request
from services.runtime.logging import service_logger
from services.runtime.metrics import refuse

# Of each method, at once. Together they leave most of the server's calls to callers it knows.
MAXIMUM_STANDARD_CALLS: Final = 24
# Answers to a check, or a talk with reflection.
STANDARD_SECONDS: Final = 10.0
# Who watches longer asks again.
WATCH_SECONDS: Final = 60.0

_MALFORMED: Final = object()

Context = grpc.aio.ServicerContext[Any, Any]
Work = Callable[[], Awaitable[Any]]


class BoundStandardServices(grpc.aio.ServerInterceptor):
    """Gives the methods that gRPC itself parses a number, a time, and INVALID_ARGUMENT.

    Ours are registered without a parser, and bound themselves.
    """

    def __init__(self) -> None:
        self._bounds: dict[str, _Bounds] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The method's handler, within its bounds."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_deserializer is None:
            return handler
        name = handler_call_details.method.removeprefix("/")
        # Only of methods that exist: what a stranger asks for does not make it grow.
        bounds = self._bounds.setdefault(name, _Bounds(name))
        codec = {
            "request_deserializer": _guarded(handler.request_deserializer),
            "response_serializer": handler.response_serializer,
        }
        # All take a stream, which is the same on the wire: a handler of one request would begin,
        # and its limits with it, only when the request is there.
        if handler.unary_unary:
            return grpc.stream_unary_rpc_method_handler(bounds.one(handler.unary_unary), **codec)
        if handler.unary_stream:
            return grpc.stream_stream_rpc_method_handler(
                bounds.watch(handler.unary_stream), **codec
            )
        if handler.stream_stream:
            return grpc.stream_stream_rpc_method_handler(
                bounds.talk(handler.stream_stream), **codec
            )
        raise NotImplementedError("a stream of requests with one answer")


class _Bounds:
    """How many calls of one method there may be, and for how long."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls = 0

    def one(self, behaviour: Callable[[Any, Context], Awaitable[Any]]) -> Callable[..., Any]:
        async def answer(_requests: object, context: Context) -> Any:
            async def work() -> Any:
                return await behaviour(_parsed(await read_request(context)), context)

            return await self._within(STANDARD_SECONDS, context, work)

        return answer

    def watch(self, behaviour: Callable[[Any, Context], Awaitable[Any]]) -> Callable[..., Any]:
        async def answer(_requests: object, context: Context) -> None:
            async def work() -> None:
                await behaviour(_parsed(await read_request(context)), context)

            await self._within(WATCH_SECONDS, context, work)

        return answer

    def talk(self, behaviour: Callable[[Any, Context], AsyncIterator[Any]]) -> Callable[..., Any]:
        async def answer(requests: AsyncIterator[Any], context: Context) -> None:
            async def parsed() -> AsyncIterator[Any]:
                async for request in requests:
                    yield _parsed(request)

            async def work() -> None:
                async for response in behaviour(parsed(), context):
                    await context.write(response)

            await self._within(STANDARD_SECONDS, context, work)

        return answer

    async def _within(self, seconds: float, context: Context, work: Work) -> Any:
        try:
            with self._counted():
                async with asyncio.timeout(seconds):
                    return await work()
        except (ServiceError, TimeoutError) as error:
            refusal = from_error(error)
        refuse("grpc", refusal, service_logger(), operation=self._name)
        return await context.abort(refusal.code, refusal.message)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self._calls >= MAXIMUM_STANDARD_CALLS:
            raise ResourceExhausted
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1


def _guarded(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def guarded(encoded: bytes) -> Any:
        try:
            return parse(encoded)
        except DecodeError:
            return _MALFORMED

    return guarded


def _parsed(request: Any) -> Any:
    if request is _MALFORMED:
        raise InvalidArgument(MALFORMED_REQUEST)
    return request
