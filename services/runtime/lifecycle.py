"""The life of a service's process: start, ready line, drain, end.

The process owns its event loop and its signals. It says on standard output, in one line, that it is
ready and on which ports; SIGTERM or SIGINT ends it with code 0 within seven seconds:

1. health says NOT_SERVING, and nobody new is let in;
2. the program closes its WebSockets with 1001 (RFC 6455, section 7.4.1);
3. requests over HTTP and gRPC finish, or are ended after 2 s;
4. the program ends its tasks and connections; waiting spans are sent.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NoReturn, Protocol, TypeVar

import uvloop
from fastapi import FastAPI

from services.runtime.boundaries import Boundaries
from services.runtime.grpc_server import GrpcServer
from services.runtime.http_server import HttpServer
from services.runtime.logging import configure_logging, error_fields, service_logger
from services.runtime.settings import ServiceSettings, load_settings
from services.runtime.telemetry import Telemetry, configure_telemetry

_READY_FD: Final = 1
_DRAIN_SECONDS: Final = 1.0
_GRACE_SECONDS: Final = 2
_FINISH_SECONDS: Final = _GRACE_SECONDS + 0.5
_STOP_SECONDS: Final = 1.5
_FLUSH_SECONDS: Final = 1.5

S = TypeVar("S", bound=ServiceSettings)


class ServiceProgram(Protocol):
    """What makes a process this service rather than another. It is built within the event loop."""

    @property
    def http_app(self) -> FastAPI:
        """The HTTP application, from `create_app`."""

    @property
    def boundaries(self) -> Boundaries:
        """What gRPC calls are verified with."""

    @property
    def websocket_protocol(self) -> str | type[asyncio.Protocol]:
        """`auto` for uvicorn's own, or a protocol of the service's."""

    async def readiness(self) -> Mapping[str, bool]:
        """What the service needs, and whether it answers; within about 2 s."""

    def register_grpc(self, server: GrpcServer) -> None:
        """Adds the gRPC services."""

    async def start(self) -> None:
        """Starts background tasks. A datastore that does not answer yet is no error."""

    async def drain(self) -> None:
        """Closes WebSockets with 1001 and takes no new ones, within 1 s."""

    async def stop(self) -> None:
        """Ends tasks and connections, within 1.5 s."""


def run(service: str, kind: type[S], build: Callable[[S, Telemetry], ServiceProgram]) -> NoReturn:
    """Runs the service until a signal ends it, and then the process with code 0.

    The settings are read here, and nowhere else. Exits with 78 when they are wrong, and with 1 when
    the service cannot start.
    """
    settings = load_settings(kind)
    configure_logging(service, settings.log_level)
    telemetry = configure_telemetry(service, settings.otlp_endpoint)
    try:
        uvloop.run(_serve(service, settings, telemetry, build))
    except Exception as error:  # noqa: BLE001 -- the log says what and where
        service_logger().error("ended by a failure", **error_fields(error))
        _exit(1)
    _exit(0)


def _exit(code: int) -> NoReturn:
    """Ends the process at once: what a thread still computes, nobody waits for any more."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def _serve(
    service: str,
    settings: S,
    telemetry: Telemetry,
    build: Callable[[S, Telemetry], ServiceProgram],
) -> None:
    asked_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_end.set)
    program = build(settings, telemetry)
    http = HttpServer(
        program.http_app,
        host=settings.host,
        port=settings.http_port,
        websocket_protocol=program.websocket_protocol,
        grace_seconds=_GRACE_SECONDS,
    )
    grpc = GrpcServer(program.boundaries, telemetry, program.readiness)
    try:
        program.register_grpc(grpc)
        await program.start()
        grpc_port = await grpc.start(settings.host, settings.grpc_port)
        http_port = await http.listen()
        _say_ready(service, http_port, grpc_port)
        service_logger().info("ready", http_port=http_port, grpc_port=grpc_port)
        await asked_to_end.wait()
        service_logger().info("draining")
        await _drain(program, http, grpc)
    finally:
        # Also after a failed start: a grpc.aio server that is not stopped hangs the process.
        await _within(0.5, grpc.stop(0))
        await _within(_STOP_SECONDS, program.stop())
        await _within(_FLUSH_SECONDS, asyncio.to_thread(telemetry.shutdown))
    service_logger().info("ended")


def _say_ready(service: str, http_port: int, grpc_port: int) -> None:
    line = {"ready": True, "service": service, "http_port": http_port, "grpc_port": grpc_port}
    # One write: a reader never sees half of it, and no buffer holds it back.
    os.write(_READY_FD, f"{json.dumps(line)}\n".encode())


async def _drain(program: ServiceProgram, http: HttpServer, grpc: GrpcServer) -> None:
    await grpc.enter_shutdown()
    http.accept_no_more()
    await _within(_DRAIN_SECONDS, program.drain())
    await _within(_FINISH_SECONDS, asyncio.gather(grpc.stop(_GRACE_SECONDS), http.finish()))


async def _within(seconds: float, work: Awaitable[object]) -> None:
    """Lets one step of the end fail or hang without keeping the others from happening."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except Exception as error:  # noqa: BLE001 -- the next step matters more
        service_logger().warning("a step of the end failed", **error_fields(error))
