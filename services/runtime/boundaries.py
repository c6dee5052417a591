"""Where a call enters a service: the credential that its place asks for, verified before all else.

An *edge* reads a Bearer token and ignores context metadata; a *hop* reads a transaction token and
the context that it speaks for, and ignores Bearer; a *workload* method reads a workload token and
nothing else. Each gives a call that says who it is for, or refuses it before anything was touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from contracts.context import RequestId, Scope, open_context
from contracts.context.carriers.edge import read_bearer
from contracts.context.carriers.hop import (
    WORKLOAD_TOKEN_KEY,
    read_hop,
    read_token,
    require_same_principal,
)
from services.runtime.authentication import Authenticator, LiveSessions
from services.runtime.calls import EdgeCall, HopCall, PublicCall, WorkloadCall, new_id
from services.runtime.errors import Unauthenticated
from services.runtime.telemetry import Operation
from services.runtime.tokens import TokenVerifier
from services.runtime.workload import WorkloadVerifier

Pairs = Sequence[tuple[str, str | bytes]]


class Boundaries:
    """What this service verifies calls with. What it does not take, it is not given.

    Args:
        service: its name, the audience of the transaction tokens that it takes.
        authenticator: for edges.
        tokens: for hops, together with `sessions`.
        sessions: tells for hops whether the session still lives.
        workloads: for methods that services call as themselves.
    """

    def __init__(
        self,
        service: str,
        *,
        authenticator: Authenticator | None = None,
        tokens: TokenVerifier | None = None,
        sessions: LiveSessions | None = None,
        workloads: WorkloadVerifier | None = None,
    ) -> None:
        self.service = service
        self.authenticator = authenticator
        self.tokens = tokens
        self.sessions = sessions
        self.workloads = workloads

    async def edge(self, pairs: Pairs, required: Scope | None, operation: Operation) -> EdgeCall:
        """A user's call from outside, in no thread yet.

        Raises:
            ServiceError, ContextError: it is refused.
        """
        if self.authenticator is None:
            raise Unauthenticated
        token = read_bearer(pairs)
        principal = await self.authenticator.authenticate(token)
        context = open_context(principal, None, None, now=datetime.now(UTC), new_id=new_id)
        operation.bind(context)
        if required is not None:
            context.require_scope(required)
        return EdgeCall(context, operation, principal, token)

    async def hop(self, pairs: Pairs, required: Scope | None, operation: Operation) -> HopCall:
        """A service's call for a user.

        Raises:
            ServiceError, ContextError: it is refused.
        """
        if self.tokens is None or self.sessions is None:
            raise Unauthenticated
        token, context = read_hop(pairs)
        claims = await self.tokens.verify_transaction(token, self.service)
        require_same_principal(context, claims)
        context.require_valid(datetime.now(UTC))
        self.sessions.require_live(claims.session_id)
        operation.bind(context)
        if required is not None:
            context.require_scope(required)
        return HopCall(context, operation, claims)

    async def workload(self, pairs: Pairs, operation: Operation) -> WorkloadCall:
        """A service's call as itself.

        Raises:
            ServiceError, ContextError: it is refused.
        """
        if self.workloads is None:
            raise Unauthenticated
        name = self.workloads.verify(read_token(pairs, WORKLOAD_TOKEN_KEY))
        return WorkloadCall(RequestId(new_id()), operation, name)

    def public(self, operation: Operation) -> PublicCall:
        """Anybody's call."""
        return PublicCall(RequestId(new_id()), operation)
