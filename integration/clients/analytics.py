"""Analytics' HTTP interface: usage."""

from __future__ import annotations

from urllib.parse import quote

from contracts.context import ThreadId
from integration.clients.connections import HttpClient, HttpConnections
from integration.clients.results import TenantTotals, ThreadUsage


class AnalyticsClient(HttpClient):
    """One principal's client of analytics. Every method takes the `traceparent` of its operation.

    Every method may raise `Refused`, `Unexpected` and `Unanswered`.

    Args:
        service: the base URL, or shared connections to it.
        token: the principal's access token.
    """

    def __init__(self, service: str | HttpConnections, *, token: str) -> None:
        super().__init__(service)
        self.token = token

    async def thread_usage(
        self, thread_id: ThreadId, *, traceparent: str | None = None
    ) -> ThreadUsage:
        """What the runs of one of the principal's conversations consumed."""
        return ThreadUsage.from_json(
            await self._connections.request(
                "GET",
                f"/usage/threads/{quote(thread_id, safe='')}",
                token=self.token,
                traceparent=traceparent,
            )
        )

    async def tenant_totals(self, *, traceparent: str | None = None) -> TenantTotals:
        """What all runs of the principal's tenant consumed. Only its administrators may ask."""
        return TenantTotals.from_json(
            await self._connections.request(
                "GET", "/usage/totals", token=self.token, traceparent=traceparent
            )
        )
