"""One boundary for each HTTP route: it verifies the caller before the body is read.

The route's handler names it in its signature, and is given the verified call:

    async def list_threads(call: Annotated[EdgeCall, edge(Scope.THREADS_READ)]) -> Threads: ...
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from fastapi import Depends, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from opentelemetry.trace import SpanKind
from starlette.types import Message, Receive
from structlog.stdlib import BoundLogger

from contracts.context import Scope
from contracts.context.carriers.trace import read_traceparent
from services.runtime.boundaries import Boundaries, Pairs
from services.runtime.calls import EdgeCall, PublicCall, new_id
from services.runtime.errors import InvalidArgument, ResourceExhausted, TooLarge
from services.runtime.http_errors import REQUEST_ID_HEADER, error_response, from_http_error
from services.runtime.logging import context_logger, error_fields, service_logger
from services.runtime.metrics import DURATIONS, IN_FLIGHT, REQUESTS, refuse
from services.runtime.strict_json import parse_json
from services.runtime.telemetry import Operation, Telemetry

MAXIMUM_BODY_BYTES: Final = 64 * 1024
MAXIMUM_REQUESTS: Final = 256
# Of strangers, who are let in before anything of them is known: they take no room from the others.
MAXIMUM_PUBLIC_REQUESTS: Final = 128
REQUEST_SECONDS: Final = 10.0
PUBLIC_BODY_SECONDS: Final = 2.0

Call = Any  # EdgeCall, PublicCall, or what a service's own boundary gives

_bearer = HTTPBearer(auto_error=False, description="An access token that auth issued.")


class BoundaryMissing(Exception):
    """A route or method does not say who may call it."""


class HttpBoundary(ABC):
    """Decides who may call a route. Used as the dependency that gives the handler its call."""

    is_public: ClassVar[bool] = False
    """Whether it admits anybody."""

    @abstractmethod
    async def admit(self, boundaries: Boundaries, pairs: Pairs, operation: Operation) -> Call:
        """The verified call.

        Raises:
            ServiceError, ContextError: it is refused.
        """

    async def __call__(self, request: Request) -> Call:
        """The call that `admit` gave, once FastAPI asks for the handler's arguments."""
        return request.scope["watertight.call"]


class _Edge(HttpBoundary):
    def __init__(self, scope: Scope | None) -> None:
        self._scope = scope

    async def admit(self, boundaries: Boundaries, pairs: Pairs, operation: Operation) -> EdgeCall:
        return await boundaries.edge(pairs, self._scope, operation)

    async def __call__(
        self,
        request: Request,
        _documented: Annotated[object, Depends(_bearer)] = None,
    ) -> Call:
        return await super().__call__(request)


class _Public(HttpBoundary):
    is_public = True

    async def admit(
        self,
        boundaries: Boundaries,
        pairs: Pairs,  # noqa: ARG002 -- nothing of what the caller says of itself is read
        operation: Operation,
    ) -> PublicCall:
        return boundaries.public(operation)


def edge(scope: Scope | None = None) -> Any:
    """A user may call, by a valid access token of a live session that has this scope."""
    return Depends(_Edge(scope))


def public() -> Any:
    """Anybody may call."""
    return Depends(_Public())


@dataclass(slots=True)
class HttpEdge:
    """What the routes of one application share."""

    boundaries: Boundaries
    telemetry: Telemetry
    requests: int = 0
    public_requests: int = 0

    @contextmanager
    def counted(self, *, public: bool) -> Iterator[None]:
        """One request more, while it lasts.

        Raises:
            ResourceExhausted: there are too many of its kind already.
        """
        if public:
            if self.public_requests >= MAXIMUM_PUBLIC_REQUESTS:
                raise ResourceExhausted
            self.public_requests += 1
        else:
            if self.requests >= MAXIMUM_REQUESTS:
                raise ResourceExhausted
            self.requests += 1
        try:
            yield
        finally:
            if public:
                self.public_requests -= 1
            else:
                self.requests -= 1


class BoundaryRoute(APIRoute):
    """A route with exactly one boundary among its parameters.

    Raises:
        BoundaryMissing: it has none, or several.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wraps FastAPI's own handling in the boundary, the limits and the span."""
        handler = super().get_route_handler()
        boundary = _boundary_of(self.path, self.dependant)
        name = f"{'/'.join(sorted(self.methods or ()))} {self.path_format}"

        async def handle(request: Request) -> Response:
            edge: HttpEdge = request.app.state.edge
            return await _Exchange(edge, request, name).answer(boundary, handler)

        return handle


def _boundary_of(path: str, dependant: Dependant) -> HttpBoundary:
    found = [d.call for d in dependant.dependencies if isinstance(d.call, HttpBoundary)]
    if len(found) != 1:
        raise BoundaryMissing(f"{path}: expected exactly one boundary, found {len(found)}")
    return found[0]


class _Exchange:
    """One request and its answer."""

    def __init__(self, edge: HttpEdge, request: Request, name: str) -> None:
        self._edge = edge
        self._request = request
        self._name = name
        self._request_id = new_id()
        self._log: BoundLogger = service_logger()

    async def answer(
        self, boundary: HttpBoundary, handler: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        pairs = [(k.decode("latin-1"), v) for k, v in self._request.scope["headers"]]
        started = time.perf_counter()
        telemetry = self._edge.telemetry
        with telemetry.span(
            self._name, None, read_traceparent(pairs), kind=SpanKind.SERVER
        ) as operation:
            self._log = service_logger().bind(
                request_id=self._request_id, trace_id=operation.trace.trace_id
            )
            IN_FLIGHT.labels("http").inc()
            try:
                with self._edge.counted(public=boundary.is_public):
                    async with asyncio.timeout(REQUEST_SECONDS):
                        response = await self._handle(boundary, handler, pairs, operation)
            except Exception as error:  # noqa: BLE001 -- every failure becomes a typed answer
                if (context := operation.context) is not None:
                    # Known though refused, such as for a scope that the caller lacks.
                    self._log = context_logger(context, operation.trace.trace_id)
                    self._request_id = context.request_id
                response = self._refuse(error, operation)
            finally:
                IN_FLIGHT.labels("http").dec()
        response.headers[REQUEST_ID_HEADER] = self._request_id
        elapsed = time.perf_counter() - started
        REQUESTS.labels("http", self._name, str(response.status_code)).inc()
        DURATIONS.labels("http", self._name).observe(elapsed)
        self._log.info(
            "answered",
            operation=self._name,
            status=response.status_code,
            duration_ms=round(elapsed * 1000, 2),
        )
        return response

    async def _handle(
        self,
        boundary: HttpBoundary,
        handler: Callable[[Request], Awaitable[Response]],
        pairs: Pairs,
        operation: Operation,
    ) -> Response:
        call = await boundary.admit(self._edge.boundaries, pairs, operation)
        self._log, self._request_id = call.log, call.request_id
        try:
            async with asyncio.timeout(PUBLIC_BODY_SECONDS if boundary.is_public else None):
                body = await _read_body(self._request)
        except TimeoutError:
            # The caller's fault, who must not fill the log with failures of the service.
            raise InvalidArgument("body: expected all of it within its time") from None
        scope = {**self._request.scope, "watertight.call": call}
        return await handler(_StrictRequest(scope, _replay(body)))

    def _refuse(self, error: Exception, operation: Operation) -> Response:
        refusal = from_http_error(error)
        operation.fail(refusal)
        refuse("http", refusal, self._log, operation=self._name)
        if refusal.is_defect:
            self._log.error("failed", operation=self._name, **error_fields(error))
        return error_response(refusal, self._request_id)


class _StrictRequest(Request):
    """A request whose body FastAPI reads as strictly as a WebSocket's frames are read."""

    async def json(self) -> object:
        """The body's value.

        Raises:
            ValueError: it is no JSON.
        """
        return parse_json(await self.body())


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAXIMUM_BODY_BYTES:
            raise TooLarge
    return bytes(body)


def _replay(body: bytes) -> Receive:
    waiting = [body]

    async def receive() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return {"type": "http.disconnect"}

    return receive
