"""What the other services ask of auth, over gRPC, each as the workload that it is."""

from __future__ import annotations

import json

from contracts.context import ContextMissing, RequestId, RunId, ThreadId, parse_scopes
from services.auth.exchange import TokenExchange
from services.auth.revocation_log import RevocationLog
from services.auth.signing import TokenIssuer, TransactionRequest
from services.runtime.calls import WorkloadCall
from services.runtime.errors import InvalidArgument
from watertight.auth.v1.auth_pb2 import (
    ExchangeTokenRequest,
    ExchangeTokenResponse,
    GetKeysRequest,
    GetKeysResponse,
    ListRevocationsRequest,
    ListRevocationsResponse,
    Revocation,
)


class AuthServicer:
    """`watertight.auth.v1.AuthService`."""

    def __init__(
        self, exchange: TokenExchange, revocations: RevocationLog, issuer: TokenIssuer
    ) -> None:
        self._exchange = exchange
        self._revocations = revocations
        self._issuer = issuer

    async def exchange_token(
        self, request: ExchangeTokenRequest, call: WorkloadCall
    ) -> ExchangeTokenResponse:
        """See the service's definition."""
        thread_id = request.thread_id if request.HasField("thread_id") else None
        run_id = request.run_id if request.HasField("run_id") else None
        if not request.subject_token:
            raise ContextMissing("subject_token", "expected an access token")
        asked = TransactionRequest(
            audience=request.audience,
            workload=call.workload,
            transaction_id=RequestId(request.transaction_id),
            scopes=parse_scopes(request.scopes),
            thread_id=None if thread_id is None else ThreadId(thread_id),
            run_id=None if run_id is None else RunId(run_id),
        )
        token = await self._exchange.exchange(call, request.subject_token, asked)
        answer = ExchangeTokenResponse(transaction_token=token.value)
        answer.expires_at.FromDatetime(token.expires_at)
        return answer

    async def list_revocations(
        self, request: ListRevocationsRequest, _call: WorkloadCall
    ) -> ListRevocationsResponse:
        """See the service's definition."""
        if request.after_sequence < 0:
            raise InvalidArgument("after_sequence: expected a number from 0")
        page = await self._revocations.after(request.after_sequence)
        answer = ListRevocationsResponse(head_sequence=page.head_sequence, more=page.more)
        for ended in page.ended:
            revocation = Revocation(sequence=ended.sequence, session_id=ended.session_id)
            revocation.expires_at.FromDatetime(ended.expires_at)
            answer.revocations.append(revocation)
        return answer

    async def get_keys(self, _request: GetKeysRequest, _call: WorkloadCall) -> GetKeysResponse:
        """See the service's definition."""
        return GetKeysResponse(jwks_json=json.dumps(self._issuer.jwks))
