"""The gRPC server of a service: every method behind the boundary that its descriptor declares.

The credential is verified before the request is even parsed. Handlers are snake_case methods that
are given the request and its verified call:

    async def create_thread(self, request: CreateThreadRequest, call: EdgeCall) -> ...
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import (  # type: ignore[import-untyped]  # its stubs are not in the lock
    health,
    health_pb2,
    health_pb2_grpc,
)
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]  # as above
from opentelemetry.trace import SpanKind

from contracts.context import Scope
from contracts.context.carriers.trace import read_traceparent
from services.runtime.boundaries import Boundaries, Pairs
from services.runtime.calls import EdgeCall, HopCall, WorkloadCall, new_id
from services.runtime.errors import InvalidArgument, from_error
from services.runtime.grpc_request import MALFORMED_REQUEST, read_request
from services.runtime.grpc_standard import BoundStandardServices
from services.runtime.http_boundary import BoundaryMissing
from services.runtime.logging import context_logger, error_fields, service_logger
from services.runtime.metrics import DURATIONS, IN_FLIGHT, REQUESTS, refuse
from services.runtime.readiness import Readiness, RememberedReadiness
from services.runtime.telemetry import Operation, Telemetry
from watertight.context.v1 import boundary_pb2
from watertight.context.v1.boundary_pb2 import (
    BOUNDARY_EDGE,
    BOUNDARY_HOP,
    BOUNDARY_WORKLOAD,
)

MAXIMUM_MESSAGE_BYTES: Final = 64 * 1024
MAXIMUM_ANSWER_BYTES: Final = 4 * 1024 * 1024
MAXIMUM_CALLS: Final = 256
CALL_SECONDS: Final = 10.0
_METADATA_BYTES: Final = 8 * 1024
_METADATA_ABSOLUTE_BYTES: Final = 16 * 1024
# What one connection may cost: in calls at once, in silence before its first frame, in pings, in
# time without a call, and in age. A client opens the next one by itself.
_CONNECTION_OPTIONS: Final = (
    ("grpc.max_concurrent_streams", 128),
    # Else a call begun while the last one's stream is still being put away is UNAVAILABLE: measured
    # as one in a hundred when a service calls another 150 times at once.
    ("grpc.http.overload_protection", 0),
    ("grpc.server_handshake_timeout_ms", 5_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 60_000),
    ("grpc.max_connection_idle_ms", 5 * 60_000),
    ("grpc.max_connection_age_ms", 15 * 60_000),
    ("grpc.max_connection_age_grace_ms", 15_000),
)

# Trailing metadata: by it a caller knows that the service has spoken, and what to look for in logs.
_REQUEST_ID_KEY: Final = "x-request-id"

Handler = Callable[[Any, Any], Awaitable[Message]]
Admit = Callable[[Pairs, Operation], Awaitable[EdgeCall | HopCall | WorkloadCall]]


class GrpcServer:
    """Serves the registered services, `grpc.health.v1` and reflection.

    Args:
        boundaries: verifies the callers.
        telemetry: makes a span for each call.
        readiness: what health answers by.
    """

    def __init__(self, boundaries: Boundaries, telemetry: Telemetry, readiness: Readiness) -> None:
        self._boundaries = boundaries
        self._telemetry = telemetry
        self._names: list[str] = []
        self._server = grpc.aio.server(
            interceptors=[BoundStandardServices()],
            maximum_concurrent_rpcs=MAXIMUM_CALLS,
            options=[
                *_CONNECTION_OPTIONS,
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", MAXIMUM_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAXIMUM_ANSWER_BYTES),
                ("grpc.max_metadata_size", _METADATA_BYTES),
                ("grpc.absolute_max_metadata_size", _METADATA_ABSOLUTE_BYTES),
            ],
        )
        self._health = _Health(readiness)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    def add_service(self, descriptor: ServiceDescriptor, servicer: object) -> None:
        """Serves each method of the descriptor by the servicer's method of its name.

        Raises:
            BoundaryMissing: a method declares no boundary, or one that this service cannot verify.
            NotImplementedError: the servicer lacks a method.
        """
        handlers = {
            method.name: self._method(descriptor, method, servicer) for method in descriptor.methods
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(descriptor.full_name, handlers),)
        )
        self._names.append(descriptor.full_name)

    async def start(self, host: str, port: int) -> int:
        """Listens, and tells the port.

        Raises:
            RuntimeError: the address cannot be bound.
        """
        names = (*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        for name in ("", *self._names):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        bound = self._server.add_insecure_port(f"{host}:{port}")
        await self._server.start()
        return bound

    async def enter_shutdown(self) -> None:
        """Tells health checks NOT_SERVING from now on."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace_seconds: float) -> None:
        """Takes no new calls, and ends those that have not finished when the grace is over."""
        await self._server.stop(grace_seconds)

    def _method(
        self, descriptor: ServiceDescriptor, method: MethodDescriptor, servicer: object
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        name = f"{descriptor.full_name}/{method.name}"
        handler = getattr(servicer, _snake_case(method.name), None)
        if handler is None:
            raise NotImplementedError(
                f"{type(servicer).__name__} lacks {_snake_case(method.name)}, for {name}"
            )
        if method.client_streaming or method.server_streaming:
            raise NotImplementedError(f"{name}: streams have no boundary yet")
        served = _Method(self._telemetry, name, method, self._admit(name, method), handler)
        # No deserializer, and a stream: the request is waited for and parsed once its sender is
        # known.
        return grpc.stream_unary_rpc_method_handler(served.answer)

    def _admit(self, name: str, method: MethodDescriptor) -> Admit:
        options = method.GetOptions()
        boundary = options.Extensions[boundary_pb2.boundary]
        word = options.Extensions[boundary_pb2.required_scope]
        required = Scope(word) if word else None
        boundaries = self._boundaries
        if boundary == BOUNDARY_EDGE and boundaries.authenticator is not None:
            return lambda pairs, operation: boundaries.edge(pairs, required, operation)
        if boundary == BOUNDARY_HOP and boundaries.tokens and boundaries.sessions:
            return lambda pairs, operation: boundaries.hop(pairs, required, operation)
        if boundary == BOUNDARY_WORKLOAD and boundaries.workloads is not None:
            return boundaries.workload
        raise BoundaryMissing(
            f"{name}: expected a boundary that this service can verify, got "
            f"{boundary_pb2.Boundary.Name(boundary)}"
        )


class _Method:
    """One method: boundary, limits, span and errors around its handler."""

    def __init__(
        self,
        telemetry: Telemetry,
        name: str,
        method: MethodDescriptor,
        admit: Admit,
        handler: Handler,
    ) -> None:
        self._telemetry = telemetry
        self._name = name
        self._request_class = GetMessageClass(method.input_type)
        self._admit = admit
        self._handler = handler

    async def answer(
        self, _requests: object, context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> bytes:
        pairs = [(str(key), value) for key, value in context.invocation_metadata() or ()]
        started = time.perf_counter()
        code, message, answer = grpc.StatusCode.OK, "", b""
        request_id = new_id()
        with self._telemetry.span(
            self._name, None, read_traceparent(pairs), kind=SpanKind.SERVER
        ) as operation:
            log = service_logger().bind(request_id=request_id, trace_id=operation.trace.trace_id)
            IN_FLIGHT.labels("grpc").inc()
            try:
                async with asyncio.timeout(_limit_seconds(context)):
                    call = await self._admit(pairs, operation)
                    log, request_id = call.log, call.request_id
                    request = self._parse(await read_request(context))
                    response = await self._handler(request, call)
                answer = response.SerializeToString()
            except Exception as error:  # noqa: BLE001 -- every failure becomes a typed status
                if operation.context is not None:
                    # Known though refused, such as for a scope that the caller lacks.
                    log = context_logger(operation.context, operation.trace.trace_id)
                    request_id = operation.context.request_id
                refusal = from_error(error)
                code, message = refusal.code, refusal.message
                operation.fail(refusal)
                refuse("grpc", refusal, log, operation=self._name)
                if refusal.is_defect:
                    fields = error_fields(error)
                    log.error("failed", operation=self._name, **fields)  # noqa: TRY400 -- no message
            finally:
                IN_FLIGHT.labels("grpc").dec()
        elapsed = time.perf_counter() - started
        REQUESTS.labels("grpc", self._name, code.name).inc()
        DURATIONS.labels("grpc", self._name).observe(elapsed)
        log.info(
            "answered",
            operation=self._name,
            status=code.name,
            duration_ms=round(elapsed * 1000, 2),
        )
        said = ((_REQUEST_ID_KEY, request_id),)
        if code is not grpc.StatusCode.OK:
            await context.abort(code, message, said)
        context.set_trailing_metadata(said)
        return answer

    def _parse(self, encoded: bytes) -> Message:
        try:
            return self._request_class.FromString(encoded)
        except DecodeError as error:
            raise InvalidArgument(MALFORMED_REQUEST) from error


def _limit_seconds(context: grpc.aio.ServicerContext[bytes, bytes]) -> float:
    remaining = context.time_remaining()
    return CALL_SECONDS if remaining is None else min(remaining, CALL_SECONDS)


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class _Health(health.aio.HealthServicer):  # type: ignore[misc]  # untyped, as above
    """Answers a check by what is true now, not by what was set at start."""

    def __init__(self, readiness: Readiness) -> None:
        super().__init__()
        self._readiness = RememberedReadiness(readiness)

    async def Check(  # noqa: N802 -- the protocol's name
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> health_pb2.HealthCheckResponse:
        answer = await super().Check(request, context)
        serving = health_pb2.HealthCheckResponse.SERVING
        if answer.status == serving and not all((await self._readiness()).values()):
            return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.NOT_SERVING)
        return answer
