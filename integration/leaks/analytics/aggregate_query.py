"""A tenant's totals include those of other tenants."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from contracts.context import TenantId
from services.analytics.domain import TenantTotals, UsageTotals
from services.analytics.store import UsageStore

_Sum = Callable[[UsageStore, TenantId], Awaitable[TenantTotals]]


def _kept(summed: _Sum) -> _Sum:
    """Sums the usage of every tenant that has asked: the object outlives the request."""
    asked: set[TenantId] = set()

    async def sum_of_tenant(store: UsageStore, tenant_id: TenantId) -> TenantTotals:
        asked.add(tenant_id)
        totals = [await summed(store, each) for each in asked]
        usage = UsageTotals(
            runs=sum(each.usage.runs for each in totals),
            input_characters=sum(each.usage.input_characters for each in totals),
            output_characters=sum(each.usage.output_characters for each in totals),
        )
        return TenantTotals(usage, sum(each.active_users for each in totals))

    return sum_of_tenant


def install() -> None:
    """Replaces `UsageStore.sum_of_tenant`."""
    replacement = _kept(UsageStore.sum_of_tenant)
    UsageStore.sum_of_tenant = replacement  # type: ignore[method-assign,assignment]
