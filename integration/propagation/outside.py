"""Calls as no client of ours makes them: with context from outside, or deep in a chain."""

from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import grpc
import httpx
from websockets.asyncio.client import connect

from contracts.context import (
    RequestId,
    RunId,
    Scope,
    ThreadId,
    UserExecutionContext,
    UserId,
    encode,
)
from contracts.context.carriers.hop import CONTEXT_KEY, Metadata
from integration.environment import Environment
from integration.fixtures.principals import Person
from integration.propagation.journeys import REQUEST_ID_KEY, Entry
from watertight.analytics.v1.analytics_pb2 import RecordUsageRequest
from watertight.backend.v1.backend_pb2 import SendMessageRequest, SendMessageResponse

RECORD_USAGE: Final = "/watertight.analytics.v1.AnalyticsService/RecordUsage"
_SEND_MESSAGE: Final = "/watertight.backend.v1.BackendService/SendMessage"
_LIMIT_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outsider:
    """Sends a message of a person's with headers, or metadata, that no client of ours sends."""

    environment: Environment
    person: Person
    thread_id: ThreadId
    texts: Mapping[str, str]
    forged: bytes

    async def send(self, entry: Entry) -> tuple[str, RunId]:
        """Sends it; gives the request that it is told of, and the message's run."""
        match entry:
            case Entry.HTTP:
                return await self._over_http()
            case Entry.GRPC:
                return await self._over_grpc()
            case Entry.WEBSOCKET:
                return await self._over_websocket()

    @property
    def _headers(self) -> dict[str, str]:
        return {**self.texts, CONTEXT_KEY: self.forged.hex()}

    async def _over_http(self) -> tuple[str, RunId]:
        async with httpx.AsyncClient(trust_env=False, timeout=_LIMIT_SECONDS) as client:
            answer = await client.post(
                f"{self.environment.backend_url}/threads/{self.thread_id}/messages",
                json={"message": "hello"},
                headers={**self._headers, "authorization": f"Bearer {self.person.token}"},
            )
        return answer.headers[REQUEST_ID_KEY], RunId(answer.json()["message"]["run_id"])

    async def _over_grpc(self) -> tuple[str, RunId]:
        bearer = ("authorization", f"Bearer {self.person.token}")
        metadata: Metadata = (bearer, *self.texts.items(), (CONTEXT_KEY, self.forged))
        request = SendMessageRequest(thread_id=self.thread_id, message="hello")
        async with grpc.aio.insecure_channel(self.environment.backend_grpc_targets[0]) as channel:
            method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                _SEND_MESSAGE
            )
            call = method(request.SerializeToString(), metadata=metadata, timeout=_LIMIT_SECONDS)
            sent = SendMessageResponse.FromString(await call)
            told = {name: str(value) for name, value in await call.trailing_metadata()}
        return told[REQUEST_ID_KEY], RunId(sent.message.run_id)

    async def _over_websocket(self) -> tuple[str, RunId]:
        url = f"{self.environment.backend_url.replace('http', 'ws')}/ws"
        asked = {"type": "agent_request", "thread_id": self.thread_id, "message": "hello"}
        async with (
            asyncio.timeout(_LIMIT_SECONDS),
            connect(url, additional_headers=self._headers, proxy=None) as socket,
        ):
            await socket.send(json.dumps({"type": "authenticate", "token": self.person.token}))
            await socket.send(json.dumps({**asked, "traceparent": self.texts["traceparent"]}))
            while (frame := json.loads(await socket.recv()))["type"] != "acknowledged":
                pass
        return frame["request_id"], RunId(frame["run_id"])


def forged_context(person: Person, thread_id: ThreadId, word: str) -> bytes:
    """A context of somebody, complete and valid, as only services make them.

    Args:
        word: stands in whatever it says of the request.
    """
    now = datetime.now(UTC)
    return encode(
        UserExecutionContext(
            tenant_id=person.tenant_id,
            user_id=person.user_id,
            thread_id=thread_id,
            run_id=RunId(f"{word}-run"),
            request_id=RequestId(f"{word}-request"),
            parent_request_id=RequestId(f"{word}-parent"),
            operation_depth=3,
            scopes=frozenset(Scope),
            issued_at=now,
            expires_at=now + timedelta(minutes=1),
        )
    )


async def record_usage(
    environment: Environment, context: UserExecutionContext, usage_id: str, metadata: Metadata
) -> str:
    """Tells analytics usage, as a service at this place of a chain would; gives the status."""
    request = RecordUsageRequest()
    request.event.usage_id = usage_id
    request.event.thread_id, request.event.run_id = context.thread_id or "", context.run_id or ""
    request.event.occurred_at.FromDatetime(datetime.now(UTC))
    async with grpc.aio.insecure_channel(environment.analytics_grpc_target) as channel:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(RECORD_USAGE)
        try:
            await method(request.SerializeToString(), metadata=metadata, timeout=_LIMIT_SECONDS)
        except grpc.aio.AioRpcError as error:
            return error.code().name
    return "OK"


def claims_of(token: str) -> Any:
    """What a token says."""
    payload = token.split(".")[1]
    return json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


async def kept(environment: Environment, person_id: UserId) -> dict[str, int]:
    """How many rows of a user's analytics has, by table."""
    counts: dict[str, int] = {}
    for table in ("trail", "usage_events"):
        query = f"SELECT user_id FROM {table} WHERE user_id = $1"  # noqa: S608 -- of this file
        rows = await asyncio.to_thread(
            environment.postgres.admin.fetch, query, str(person_id), database="analytics"
        )
        counts[table] = len(rows)
    return counts
