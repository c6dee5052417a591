"""Analytics over gRPC: what the other services record and ask, each for one user."""

from __future__ import annotations

from typing import Final

from contracts.context import ThreadId
from services.analytics import domain
from services.analytics.usage import UsageService
from services.runtime.calls import HopCall
from services.runtime.errors import InvalidArgument
from watertight.analytics.v1 import analytics_pb2 as wire

SERVICE: Final = wire.DESCRIPTOR.services_by_name["AnalyticsService"]


class AnalyticsServicer:
    """`watertight.analytics.v1.AnalyticsService`."""

    def __init__(self, usage: UsageService) -> None:
        self._usage = usage

    async def record_usage(
        self, request: wire.RecordUsageRequest, call: HopCall
    ) -> wire.RecordUsageResponse:
        """Stores one event under the caller's context."""
        if not request.HasField("event"):
            raise InvalidArgument("event: expected a usage event")
        return wire.RecordUsageResponse(stored=await self._usage.record(call, request.event))

    async def get_thread_usage(
        self, request: wire.GetThreadUsageRequest, call: HopCall
    ) -> wire.GetThreadUsageResponse:
        """The usage of the context's own thread."""
        totals = await self._usage.of_thread(call, ThreadId(request.thread_id))
        return wire.GetThreadUsageResponse(thread_id=request.thread_id, totals=_totals(totals))

    async def get_tenant_totals(
        self, request: wire.GetTenantTotalsRequest, call: HopCall
    ) -> wire.GetTenantTotalsResponse:
        """The sums of the context's tenant."""
        del request
        found = await self._usage.of_tenant(call)
        return wire.GetTenantTotalsResponse(
            totals=_totals(found.usage), active_users=found.active_users
        )


def _totals(totals: domain.UsageTotals) -> wire.UsageTotals:
    return wire.UsageTotals(
        runs=totals.runs,
        input_characters=totals.input_characters,
        output_characters=totals.output_characters,
    )
