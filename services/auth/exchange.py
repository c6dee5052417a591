"""Token exchange (RFC 8693): a user's access token for a transaction token, for one hop."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from contracts.context import ContextWidened, Principal, UserExecutionContext
from services.auth.sessions import Sessions
from services.auth.signing import TokenIssuer, TransactionRequest
from services.runtime.auth_client import TransactionToken
from services.runtime.calls import WorkloadCall
from services.runtime.errors import InvalidArgument
from services.runtime.logging import context_logger
from services.runtime.postgres import Database
from services.runtime.tokens import TokenVerifier
from services.runtime.trail import Trail, TrailOutcome


class TokenExchange:
    """Gives transaction tokens: for less than the access token, never for longer or for more.

    Args:
        audiences: the services that a token may be for.
        life: of a transaction token, but never beyond its access token.
    """

    def __init__(
        self,
        database: Database,
        verifier: TokenVerifier,
        sessions: Sessions,
        issuer: TokenIssuer,
        *,
        audiences: frozenset[str],
        life: timedelta,
    ) -> None:
        self._database = database
        self._verifier = verifier
        self._sessions = sessions
        self._issuer = issuer
        self._audiences = audiences
        self._life = life
        self._trail = Trail()

    async def exchange(
        self, call: WorkloadCall, subject_token: str, request: TransactionRequest
    ) -> TransactionToken:
        """A token for this request's audience.

        Raises:
            Unauthenticated: the access token is not valid, or its session has ended.
            ContextWidened: it lacks one of the scopes.
            InvalidArgument: nobody is the audience.
        """
        principal = await self._verifier.verify_access(subject_token)
        if request.audience not in self._audiences:
            raise InvalidArgument("audience: expected the name of a service")
        if not request.scopes <= principal.scopes:
            raise ContextWidened("scopes", "the access token lacks one of them")
        now = datetime.now(UTC)
        expires_at = min(now + self._life, principal.expires_at).replace(microsecond=0)
        context = _context(call, principal, request, now=now)
        call.operation.bind(context)
        async with self._database.transaction(context.user_scope) as session:
            await self._sessions.require_live(session, principal)
            await self._trail.record(
                session,
                context,
                action="tokens.exchange",
                outcome=TrailOutcome.OK,
                trace_id=call.trace.trace_id,
            )
        value = self._issuer.transaction_token(principal, request, now=now, expires_at=expires_at)
        log = context_logger(context, call.trace.trace_id)
        log.info("token exchanged", audience=request.audience, workload=call.workload)
        return TransactionToken(value, expires_at)


def _context(
    call: WorkloadCall, principal: Principal, request: TransactionRequest, *, now: datetime
) -> UserExecutionContext:
    """What the exchange itself is done under: one call below the request that asked for the hop."""
    return UserExecutionContext(
        tenant_id=principal.tenant_id,
        user_id=principal.user_id,
        thread_id=request.thread_id,
        run_id=request.run_id,
        request_id=call.request_id,
        parent_request_id=request.transaction_id,
        operation_depth=1,
        scopes=request.scopes,
        issued_at=now,
        expires_at=principal.expires_at,
    )
