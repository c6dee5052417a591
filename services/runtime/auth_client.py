"""What a service asks of auth, as the workload that it is: keys, revocations, tokens for hops."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

import grpc.aio

from contracts.context import UserExecutionContext
from contracts.context.carriers.hop import WORKLOAD_TOKEN_KEY, Metadata
from contracts.context.carriers.trace import TraceParent
from services.runtime.channels import from_rpc_error, open_channel, traced
from services.runtime.workload import make_workload_token
from watertight.auth.v1.auth_pb2 import (
    ExchangeTokenRequest,
    GetKeysRequest,
    ListRevocationsRequest,
    ListRevocationsResponse,
)
from watertight.auth.v1.auth_pb2_grpc import AuthServiceStub

if TYPE_CHECKING:  # a name of the type stubs alone
    from watertight.auth.v1.auth_pb2_grpc import AuthServiceAsyncStub

AUTH_SECONDS: Final = 2.0
# Shorter than the feed's bound, so that one lost answer leaves time for another question.
FEED_SECONDS: Final = 1.0

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class TransactionToken:
    """A token for one hop, and when it ends."""

    value: str = field(repr=False)
    expires_at: datetime


class AuthClient:
    """Speaks to auth's gRPC interface.

    Args:
        target: `host:port`.
        workload: this service's name.
        secret: what it shares with auth, to prove it.
    """

    def __init__(self, target: str, *, workload: str, secret: str) -> None:
        self._channel = open_channel(target)
        self._stub: AuthServiceAsyncStub = AuthServiceStub(self._channel)
        self._workload = workload
        self._secret = secret

    async def fetch_keys(self) -> str:
        """Auth's public keys, as a JWK Set in JSON.

        Raises:
            ServiceError: auth refuses or does not answer.
        """
        call = self._stub.GetKeys(
            GetKeysRequest(), timeout=AUTH_SECONDS, metadata=self._metadata(None)
        )
        return (await _answer(call)).jwks_json

    async def list_revocations(self, after_sequence: int) -> ListRevocationsResponse:
        """The sessions that ended after a sequence number.

        Raises:
            ServiceError: auth refuses or does not answer within 1 s.
        """
        return await _answer(
            self._stub.ListRevocations(
                ListRevocationsRequest(after_sequence=after_sequence),
                timeout=FEED_SECONDS,
                metadata=self._metadata(None),
            )
        )

    async def exchange(
        self,
        access_token: str,
        context: UserExecutionContext,
        audience: str,
        *,
        trace: TraceParent | None = None,
    ) -> TransactionToken:
        """A transaction token for this context's user, thread, run and scopes, for one service.

        `txn`, which names the whole chain, is the request that the context came from.

        Raises:
            ServiceError: auth refuses or does not answer.
        """
        request = ExchangeTokenRequest(
            subject_token=access_token,
            audience=audience,
            scopes=sorted(context.scopes),
            thread_id=context.thread_id,
            run_id=context.run_id,
            transaction_id=context.parent_request_id or context.request_id,
        )
        answer = await _answer(
            self._stub.ExchangeToken(request, timeout=AUTH_SECONDS, metadata=self._metadata(trace))
        )
        return TransactionToken(answer.transaction_token, answer.expires_at.ToDatetime(tzinfo=UTC))

    async def close(self) -> None:
        """Ends the connection."""
        await self._channel.close()

    def _metadata(self, trace: TraceParent | None) -> Metadata:
        token = make_workload_token(self._workload, self._secret, datetime.now(UTC))
        return ((WORKLOAD_TOKEN_KEY, token), *traced(trace))


async def _answer(call: Awaitable[R]) -> R:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error
