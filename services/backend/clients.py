"""Whom the backend calls: analytics, by hops under the context of the thread that is spoken of."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from contracts.context import Scope, ThreadId
from services.backend.domain import ThreadUsage
from services.runtime.auth_client import AuthClient
from services.runtime.calls import EdgeCall
from services.runtime.errors import DeadlineExceeded, Unavailable
from services.runtime.grpc_client import HopClient
from watertight.analytics.v1.analytics_pb2 import GetThreadUsageRequest, RecordUsageRequest
from watertight.analytics.v1.analytics_pb2_grpc import AnalyticsServiceStub
from watertight.events.v1.usage_pb2 import UsageEvent

if TYPE_CHECKING:  # a name of the type stubs alone
    from watertight.analytics.v1.analytics_pb2_grpc import AnalyticsServiceAsyncStub

# What a caller waits for at most, the exchange of the token included.
RECORD_SECONDS: Final = 2.0
QUERY_SECONDS: Final = 4.0


class AnalyticsClient:
    """Analytics, as the backend needs it."""

    def __init__(self, target: str, auth: AuthClient) -> None:
        self._hop = HopClient(target, audience="analytics", auth=auth)
        self._stub: AnalyticsServiceAsyncStub = AnalyticsServiceStub(self._hop.channel)

    async def record_usage(self, call: EdgeCall, event: UsageEvent) -> None:
        """Tells what a run consumed; telling it twice changes nothing. Within 2 s.

        Raises:
            ServiceError: analytics refuses or does not answer.
        """
        async with asyncio.timeout(RECORD_SECONDS):
            await self._hop.call(
                self._stub.RecordUsage,
                RecordUsageRequest(event=event),
                call,
                scopes=frozenset({Scope.USAGE_WRITE}),
                timeout_seconds=RECORD_SECONDS,
            )

    async def thread_usage(self, call: EdgeCall, thread_id: ThreadId) -> ThreadUsage:
        """What the thread's runs consumed. Within 4 s.

        Raises:
            Unavailable: analytics does not answer.
            ServiceError: it refuses.
        """
        try:
            async with asyncio.timeout(QUERY_SECONDS):
                answer = await self._hop.call(
                    self._stub.GetThreadUsage,
                    GetThreadUsageRequest(thread_id=thread_id),
                    call,
                    scopes=frozenset({Scope.USAGE_READ}),
                    timeout_seconds=QUERY_SECONDS,
                )
        except (TimeoutError, DeadlineExceeded) as error:
            raise Unavailable from error
        return ThreadUsage(
            thread_id=ThreadId(answer.thread_id),
            runs=answer.totals.runs,
            input_characters=answer.totals.input_characters,
            output_characters=answer.totals.output_characters,
        )

    async def close(self) -> None:
        """Ends the connection."""
        await self._hop.close()
