"""What is done with usage: the one path to the data for gRPC, HTTP and the stream."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter

from contracts.context import Scope, ThreadId, UserExecutionContext
from contracts.context.carriers.trace import TRACEPARENT_KEY, read_traceparent
from services.analytics.domain import TenantTotals, Usage, UsageTotals
from services.analytics.store import UsageStore
from services.runtime.calls import EdgeCall, HopCall
from services.runtime.logging import context_logger
from services.runtime.telemetry import Telemetry
from watertight.events.v1.usage_pb2 import UsageEntry, UsageEvent

RECORDED: Final = Counter(
    "watertight_usage_recorded", "Usage events, by the way they came.", ("way", "stored")
)


class UsageService:
    """Records usage and tells sums of it.

    Args:
        store: where it is kept.
        telemetry: for the spans of what the stream brings.
    """

    def __init__(self, store: UsageStore, telemetry: Telemetry) -> None:
        self._store = store
        self._telemetry = telemetry

    async def record(self, call: HopCall, event: UsageEvent) -> bool:
        """Stores an event under the caller's context; False where it had been stored before.

        Raises:
            PermissionDenied: it is of another thread or run than the context.
            InvalidArgument: a field is out of its range.
        """
        call.context.require_scope(Scope.USAGE_WRITE)
        usage = Usage.of(event, call.context)
        stored = await self._store.record(
            call.context, usage, action="usage.record", trace_id=call.trace.trace_id
        )
        RECORDED.labels("grpc", str(stored).lower()).inc()
        call.log.info("usage recorded", stored=stored)
        return stored

    async def consume(self, context: UserExecutionContext, entry: UsageEntry) -> None:
        """Stores what an entry of the stream tells, under the entry's context.

        The context's scopes are attribution here, not authority: it acts as analytics itself,
        narrowed to the entry's thread. It was judged when the entry was written.
        """
        usage = Usage.of(entry.event, context)
        parent = read_traceparent(((TRACEPARENT_KEY, entry.traceparent),))
        with self._telemetry.span("consume usage", context, parent) as operation:
            trace_id = operation.trace.trace_id
            stored = await self._store.record(
                context, usage, action="usage.consume", trace_id=trace_id
            )
            RECORDED.labels("stream", str(stored).lower()).inc()
            context_logger(context, trace_id).info("usage consumed", stored=stored)

    async def of_thread(self, call: EdgeCall | HopCall, thread_id: ThreadId) -> UsageTotals:
        """The sums of one thread: zero where it has none, is another's, or does not exist.

        Raises:
            ContextWidened: the context belongs to another thread.
        """
        call.context.require_scope(Scope.USAGE_READ)
        narrowed = call.under(call.context.narrowed(thread_id=thread_id))
        return await self._store.sum_of_thread(narrowed.context, trace_id=narrowed.trace.trace_id)

    async def of_tenant(self, call: EdgeCall | HopCall) -> TenantTotals:
        """The sums of the caller's tenant."""
        call.context.require_scope(Scope.TENANT_USAGE)
        await self._store.record_totals_request(call.context, trace_id=call.trace.trace_id)
        return await self._store.sum_of_tenant(call.context.tenant_id)
