"""Stands between two services: passes every gRPC call on as it is, and keeps what it carried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import grpc

from contracts.context import UserExecutionContext
from contracts.context.carriers.hop import read_hop
from contracts.context.carriers.trace import read_traceparent

_WORKERS: Final = 32
# Services may be called before they listen: as theirs does, a channel tries again soon.
_OPTIONS: Final = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)
# The connection's own, which every connection adds by itself.
_OWN: Final = frozenset({"user-agent"})


@dataclass(frozen=True, slots=True)
class Carried:
    """One call as it went over the wire: its method, its metadata and its request's bytes."""

    method: str
    metadata: tuple[tuple[str, str | bytes], ...]
    request: bytes

    @property
    def trace_id(self) -> str:
        """The trace that the caller continues; empty where it names none."""
        parent = read_traceparent(self.metadata)
        return "" if parent is None else parent.trace_id

    @property
    def context(self) -> UserExecutionContext:
        """The context of a hop.

        Raises:
            ContextError: there is none.
        """
        return read_hop(self.metadata)[1]

    @property
    def token(self) -> str:
        """The transaction token of a hop.

        Raises:
            ContextError: there is none.
        """
        return read_hop(self.metadata)[0]


class Wiretap(grpc.GenericRpcHandler):
    """Listens at `target` in a service's place. `calls` are all that have come so far.

    Args:
        destination: gives `host:port` of the service; asked at each call, since a system's
            addresses are known only when it starts.
    """

    def __init__(self, destination: Callable[[], str]) -> None:
        self.target = ""
        self.calls: list[Carried] = []
        self._destination = destination
        self._channels: dict[str, grpc.Channel] = {}
        self._away = False

    def of_trace(self, trace_id: str) -> list[Carried]:
        """The calls that continue one trace."""
        return [call for call in list(self.calls) if call.trace_id == trace_id]

    @contextmanager
    def away(self) -> Iterator[None]:
        """As long as it lasts, calls end with UNAVAILABLE and are not passed on."""
        self._away = True
        try:
            yield
        finally:
            self._away = False

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler[bytes, bytes]:
        """The one handler for every method."""
        method = str(handler_call_details.method)

        def forward(request: bytes, context: grpc.ServicerContext) -> bytes:
            return self._forward(method, request, context)

        return grpc.unary_unary_rpc_method_handler(forward)

    def _forward(self, method: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        pairs = tuple(
            (str(key), value)
            for key, value in context.invocation_metadata()
            if str(key) not in _OWN
        )
        self.calls.append(Carried(method, pairs, request))
        if self._away:
            context.abort(grpc.StatusCode.UNAVAILABLE, "cut")
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel().unary_unary(method)
        try:
            return call(request, metadata=pairs, timeout=context.time_remaining())
        except grpc.RpcError as error:
            failed: Any = error
            context.set_trailing_metadata(tuple(failed.trailing_metadata() or ()))
            context.abort(failed.code(), failed.details())
            raise

    def _channel(self) -> grpc.Channel:
        target = self._destination()
        if target not in self._channels:
            self._channels[target] = grpc.insecure_channel(target, options=_OPTIONS)
        return self._channels[target]

    def close(self) -> None:
        """Closes the connections to the service."""
        for channel in self._channels.values():
            channel.close()


@contextmanager
def tapped(destination: Callable[[], str]) -> Iterator[Wiretap]:
    """A tap that listens, at its `target`, until the end of the block."""
    tap = Wiretap(destination)
    server = grpc.server(ThreadPoolExecutor(_WORKERS), handlers=[tap])
    tap.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield tap
    finally:
        server.stop(0).wait()
        tap.close()
