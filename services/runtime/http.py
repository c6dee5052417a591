"""The HTTP application of a service: its routes, each behind a boundary, and what all offer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from contracts.context.carriers.trace import read_traceparent
from services.runtime.boundaries import Boundaries
from services.runtime.calls import new_id
from services.runtime.http_boundary import (
    BoundaryMissing,
    BoundaryRoute,
    HttpBoundary,
    HttpEdge,
    edge,
    public,
)
from services.runtime.http_errors import ErrorBody, error_response, from_http_error
from services.runtime.logging import error_fields, service_logger
from services.runtime.metrics import refuse
from services.runtime.readiness import Readiness, RememberedReadiness
from services.runtime.telemetry import Telemetry

__all__ = [
    "BoundaryMissing",
    "BoundaryRoute",
    "HttpBoundary",
    "answers",
    "create_app",
    "edge",
    "public",
    "readiness_of",
]

READINESS_SECONDS: Final = 2.0


async def answers(question: Awaitable[bool]) -> bool:
    """Whether something that this service needs answers yes within 2 s."""
    asked = asyncio.ensure_future(question)
    # Not `timeout`: that waits for the cancelled question, whose driver may wait for the server.
    done, late = await asyncio.wait({asked}, timeout=READINESS_SECONDS)
    for one in late:
        one.add_done_callback(_forget)
        one.cancel()
    return any(not one.cancelled() and one.exception() is None and one.result() for one in done)


def _forget(question: asyncio.Future[bool]) -> None:
    if not question.cancelled():
        question.exception()  # asked for, or asyncio reports it as never retrieved


async def readiness_of(**questions: Awaitable[bool]) -> dict[str, bool]:
    """Which of the things that this service needs answer, all asked at once: within 2 s."""
    told = await asyncio.gather(*(answers(question) for question in questions.values()))
    return dict(zip(questions, told, strict=True))


def create_app(
    service: str,
    *,
    routers: Sequence[APIRouter],
    boundaries: Boundaries,
    telemetry: Telemetry,
    readiness: Readiness,
    description: str = "",
) -> FastAPI:
    """The application, with `/health`, `/health/live`, `/metrics`, `/openapi.json` and `/docs`.

    Raises:
        BoundaryMissing: a route of `routers` is no `BoundaryRoute`.
    """
    app = FastAPI(
        title=f"Watertight {service}",
        description=description,
        redirect_slashes=False,
        redoc_url=None,
        responses={"default": {"model": ErrorBody, "description": "An error"}},
    )
    app.state.edge = HttpEdge(boundaries, telemetry)
    for router in routers:
        _require_boundaries(router)
        app.include_router(router)
    _add_health(app, service, readiness)
    app.add_exception_handler(HTTPException, _refuse_unrouted)
    app.add_exception_handler(Exception, _refuse_unexpected)
    _document_errors(app)
    return app


def _require_boundaries(router: APIRouter) -> None:
    for route in router.routes:
        if not isinstance(route, BoundaryRoute):
            raise BoundaryMissing(f"{getattr(route, 'path', route)}: expected a BoundaryRoute")


def _add_health(app: FastAPI, service: str, readiness: Readiness) -> None:
    remembered = RememberedReadiness(readiness)

    async def health() -> JSONResponse:
        """Ready: everything that this service needs answered half a second ago at most."""
        checks = dict(await remembered())
        ready = all(checks.values())
        body = {"service": service, "ready": ready, "checks": checks}
        return JSONResponse(body, status_code=200 if ready else 503)

    async def live() -> JSONResponse:
        """The process runs."""
        return JSONResponse({"service": service, "live": True})

    async def metrics() -> Response:
        """Figures in Prometheus' text format."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    for path, endpoint in (("/health", health), ("/health/live", live), ("/metrics", metrics)):
        app.add_api_route(path, endpoint, methods=["GET"], tags=["operation"])


def _pairs(request: Request) -> list[tuple[str, str | bytes]]:
    return [(name.decode("latin-1"), value) for name, value in request.scope["headers"]]


async def _refuse_unrouted(request: Request, error: Exception) -> Response:
    refusal, request_id = from_http_error(error), new_id()
    parent = read_traceparent(_pairs(request))
    log = service_logger().bind(request_id=request_id)
    refuse("http", refusal, log, trace_id=None if parent is None else parent.trace_id)
    response = error_response(refusal, request_id)
    if isinstance(error, HTTPException) and error.headers and "Allow" in error.headers:
        response.headers["allow"] = error.headers["Allow"]
    return response


async def _refuse_unexpected(_request: Request, error: Exception) -> Response:
    refusal, request_id = from_http_error(error), new_id()
    service_logger().error("failed", request_id=request_id, **error_fields(error))
    return error_response(refusal, request_id)


def _document_errors(app: FastAPI) -> None:
    """FastAPI documents 422 for every body; these services answer 400 in their own shape."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        schema = generate()
        for path in schema["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way
