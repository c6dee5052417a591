"""Channels to other services, and what their failures mean to the caller's caller."""

from __future__ import annotations

from typing import Final

import grpc
import grpc.aio

from contracts.context.carriers.hop import Metadata
from contracts.context.carriers.trace import TRACEPARENT_KEY, TraceParent
from services.runtime.errors import (
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    ServiceError,
    Unauthenticated,
    Unavailable,
)

_ERRORS: Final[dict[grpc.StatusCode, type[ServiceError]]] = {
    error.default_code: error
    for error in (
        DeadlineExceeded,
        InvalidArgument,
        NotFound,
        PermissionDenied,
        ResourceExhausted,
        Unauthenticated,
        Unavailable,
    )
}


def open_channel(target: str) -> grpc.aio.Channel:
    """A channel that connects when it is first used, and again within 2 s of a loss."""
    return grpc.aio.insecure_channel(
        target,
        options=[
            ("grpc.enable_http_proxy", 0),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.max_receive_message_length", 4 * 1024 * 1024),
        ],
    )


def from_rpc_error(error: grpc.aio.AioRpcError) -> ServiceError:
    """The same refusal in this service's own words; anything unexpected is `Internal`."""
    return _ERRORS.get(error.code(), Internal)()


def traced(trace: TraceParent | None) -> Metadata:
    """The metadata that continues a trace."""
    return () if trace is None else ((TRACEPARENT_KEY, str(trace)),)
