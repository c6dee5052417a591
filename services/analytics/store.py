"""Usage in Postgres. Each method is one piece, with the scope that it works under.

Analytics does not own threads, so it cannot tell another's thread from one that does not exist, nor
from one without usage: each has no rows under the asker's scope, and its sums are zero.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import text

from contracts.context import ContextMissing, DataScope, TenantId, UserExecutionContext
from services.analytics.domain import TenantTotals, Usage, UsageTotals
from services.runtime.postgres import Database
from services.runtime.trail import Trail, TrailOutcome

_INSERT: Final = text(
    "insert into usage_events (tenant_id, user_id, usage_id, thread_id, run_id, input_characters,"
    " output_characters, occurred_at) values (:tenant_id, :user_id, :usage_id, :thread_id,"
    " :run_id, :input_characters, :output_characters, :occurred_at)"
    " on conflict (tenant_id, user_id, usage_id) do nothing returning usage_id"
)
_SUMS: Final = (
    "select count(*) as runs, coalesce(sum(input_characters), 0)::bigint as input_characters,"
    " coalesce(sum(output_characters), 0)::bigint as output_characters"
)
# The policies confine both already; the conditions let the index be used, and are a second wall.
_OF_THREAD: Final = text(
    f"{_SUMS} from usage_events"
    " where tenant_id = :tenant_id and user_id = :user_id and thread_id = :thread_id"
)
_OF_TENANT: Final = text(
    f"{_SUMS}, count(distinct user_id) as active_users from usage_events"
    " where tenant_id = :tenant_id"
)


class UsageStore:
    """The usage of runs, each under the context that consumed it.

    Every method raises `Unavailable` when the database does not answer in time.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._trail = Trail()

    async def record(
        self, context: UserExecutionContext, usage: Usage, *, action: str, trace_id: str
    ) -> bool:
        """Stores a run's usage under its context; False where it had been stored before."""
        row = {
            "tenant_id": context.tenant_id,
            "user_id": context.user_id,
            "usage_id": usage.usage_id,
            "thread_id": usage.thread_id,
            "run_id": usage.run_id,
            "input_characters": usage.input_characters,
            "output_characters": usage.output_characters,
            "occurred_at": usage.occurred_at,
        }
        async with self._database.transaction(context.data_scope) as session:
            stored = (await session.execute(_INSERT, row)).first() is not None
            await self._trail.record(
                session, context, action=action, outcome=TrailOutcome.OK, trace_id=trace_id
            )
        return stored

    async def sum_of_thread(self, context: UserExecutionContext, *, trace_id: str) -> UsageTotals:
        """The sums of the context's own thread."""
        if context.thread_id is None:
            raise ContextMissing("thread_id", "the sums of a thread need one")
        async with self._database.transaction(context.data_scope) as session:
            parameters = {
                "tenant_id": context.tenant_id,
                "user_id": context.user_id,
                "thread_id": context.thread_id,
            }
            row = (await session.execute(_OF_THREAD, parameters)).one()
            await self._trail.record(
                session,
                context,
                action="usage.thread",
                outcome=TrailOutcome.OK,
                trace_id=trace_id,
            )
        return UsageTotals(row.runs, row.input_characters, row.output_characters)

    async def record_totals_request(self, context: UserExecutionContext, *, trace_id: str) -> None:
        """Writes into the trail that the context's user asks for her tenant's sums.

        A transaction of its own: kind `tenant` reads usage rows and does nothing else.
        """
        async with self._database.transaction(context.user_scope) as session:
            await self._trail.record(
                session,
                context,
                action="usage.totals",
                outcome=TrailOutcome.OK,
                trace_id=trace_id,
            )

    async def sum_of_tenant(self, tenant_id: TenantId) -> TenantTotals:
        """The sums of one tenant."""
        async with self._database.transaction(DataScope.tenant(tenant_id)) as session:
            row = (await session.execute(_OF_TENANT, {"tenant_id": tenant_id})).one()
        usage = UsageTotals(row.runs, row.input_characters, row.output_characters)
        return TenantTotals(usage, row.active_users)
