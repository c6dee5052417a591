"""Calls to other services: with a deadline, a trace, and the context that they are made for."""

from __future__ import annotations

from typing import Final, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from contracts.context import RequestId, Scope
from contracts.context.carriers.hop import write_hop
from services.runtime.auth_client import AuthClient
from services.runtime.calls import EdgeCall, new_id
from services.runtime.channels import from_rpc_error, open_channel, traced

__all__ = ["HopClient", "from_rpc_error"]

HOP_SECONDS: Final = 5.0

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


class HopClient:
    """Calls one other service for users.

    Args:
        target: `host:port`.
        audience: the service's name; its transaction tokens are good for nobody else.
        auth: exchanges the users' access tokens.
    """

    def __init__(self, target: str, *, audience: str, auth: AuthClient) -> None:
        self.channel = open_channel(target)
        """For the generated stub."""
        self._audience = audience
        self._auth = auth

    async def call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        caller: EdgeCall,
        *,
        scopes: frozenset[Scope],
        timeout_seconds: float = HOP_SECONDS,
    ) -> Response:
        """Makes the call one deeper than the caller's context, and narrowed to these scopes.

        Raises:
            ContextError: the caller has not all of these scopes, or is at the deepest level.
            ServiceError: what the other service answered, or that it did not.
        """
        asked = caller.context.narrowed(scopes=scopes).child(RequestId(new_id()))
        token = await self._auth.exchange(
            caller.access_token, asked, self._audience, trace=caller.trace
        )
        context = asked.narrowed(expires_at=min(asked.expires_at, token.expires_at))
        metadata = (*write_hop(context, token.value), *traced(caller.trace))
        try:
            return await method(request, timeout=timeout_seconds, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def close(self) -> None:
        """Ends the connection."""
        await self.channel.close()
