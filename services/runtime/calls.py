"""What a handler is given: a call whose credential has been verified, with its trace and its log.

A handler takes its call as an argument. There is no current call to look up, so none to confuse.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from typing import Self

from structlog.stdlib import BoundLogger

from contracts.context import Principal, RequestId, UserExecutionContext
from contracts.context.carriers.hop import TransactionClaims
from contracts.context.carriers.trace import TraceParent
from services.runtime.errors import PermissionDenied
from services.runtime.logging import context_logger, service_logger
from services.runtime.telemetry import Operation


def new_id() -> str:
    """A new identifier: 32 random hexadecimal digits (UUID version 4)."""
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class _ContextCall:
    context: UserExecutionContext
    operation: Operation = field(repr=False, compare=False)

    @property
    def request_id(self) -> RequestId:
        """This call's own, new at each hop."""
        return self.context.request_id

    @property
    def trace(self) -> TraceParent:
        """Of this operation's own span: what its calls continue."""
        return self.operation.trace

    @property
    def log(self) -> BoundLogger:
        """Says this call's context and trace on every line."""
        return context_logger(self.context, self.trace.trace_id)

    def under(self, context: UserExecutionContext) -> Self:
        """The same call in another context of the same user, such as that of a thread now opened.

        Raises:
            PermissionDenied: the context is another tenant's or user's, or may do more.
        """
        same = (context.tenant_id, context.user_id) == (
            self.context.tenant_id,
            self.context.user_id,
        )
        if not same or not context.scopes <= self.context.scopes:
            raise PermissionDenied("the context is not this caller's")
        self.operation.bind(context)
        return replace(self, context=context)


@dataclass(frozen=True, slots=True)
class EdgeCall(_ContextCall):
    """A call from outside, by a user: over HTTP, gRPC or WebSocket."""

    principal: Principal
    access_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class HopCall(_ContextCall):
    """A call by another service, for a user."""

    claims: TransactionClaims


@dataclass(frozen=True, slots=True)
class _ServiceCall:
    request_id: RequestId
    operation: Operation = field(repr=False, compare=False)

    @property
    def trace(self) -> TraceParent:
        """Of this operation's own span: what its calls continue."""
        return self.operation.trace

    @property
    def log(self) -> BoundLogger:
        """Says this call's request and trace on every line."""
        return service_logger().bind(request_id=self.request_id, trace_id=self.trace.trace_id)


@dataclass(frozen=True, slots=True)
class WorkloadCall(_ServiceCall):
    """A call by another service as itself, for no user."""

    workload: str


@dataclass(frozen=True, slots=True)
class PublicCall(_ServiceCall):
    """A call whose sender nothing is known of."""
