"""Analytics over HTTP: a user's own threads, and her tenant's sums for an administrator."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel

from contracts.context import Scope, ThreadId
from services.analytics.usage import UsageService
from services.runtime.calls import EdgeCall
from services.runtime.http import BoundaryRoute, edge


class ThreadUsageBody(BaseModel):
    """What the runs of one thread consumed, in characters."""

    thread_id: str
    runs: int
    input_characters: int
    output_characters: int


class TenantTotalsBody(BaseModel):
    """What the runs of a tenant consumed, in characters, and how many of its users had any."""

    runs: int
    input_characters: int
    output_characters: int
    active_users: int


def make_router(usage: UsageService) -> APIRouter:
    """The routes."""
    router = APIRouter(route_class=BoundaryRoute, prefix="/usage", tags=["usage"])

    @router.get("/threads/{thread_id}")
    async def thread_usage(
        call: Annotated[EdgeCall, edge(Scope.USAGE_READ)],
        thread_id: Annotated[str, Path(description="A thread of the caller.")],
    ) -> ThreadUsageBody:
        """The usage of one thread of the caller; zero where it has none or is not the caller's."""
        totals = await usage.of_thread(call, ThreadId(thread_id))
        return ThreadUsageBody(
            thread_id=thread_id,
            runs=totals.runs,
            input_characters=totals.input_characters,
            output_characters=totals.output_characters,
        )

    @router.get("/totals")
    async def tenant_totals(
        call: Annotated[EdgeCall, edge(Scope.TENANT_USAGE)],
    ) -> TenantTotalsBody:
        """The sums of the caller's tenant; for its administrators."""
        totals = await usage.of_tenant(call)
        return TenantTotalsBody(
            runs=totals.usage.runs,
            input_characters=totals.usage.input_characters,
            output_characters=totals.usage.output_characters,
            active_users=totals.active_users,
        )

    return router
