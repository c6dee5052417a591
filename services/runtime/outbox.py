"""The outbox: what is to be published is written in the transaction that it tells of.

A relay with a role of its own, which has rights on this one table, publishes the rows in order. A
row stays until its consumer has confirmed it, which it does after its own commit: that Redis took
an entry says nothing, for it may come back empty. A row that nobody has confirmed after 10 s is
published again, and then ever more seldom, up to once in 80 s: a consumer that is away finds few
repetitions when it is back. So publication is at least once; who consumes makes the effect once, by
the event's identifier. A confirmation that is lost costs one publication more.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.context import ScopeKind, UserExecutionContext
from contracts.context.carriers.entry import MAXIMUM_ENTRY_BYTES
from services.runtime.confirmations import Confirmations
from services.runtime.errors import InvalidArgument, Unavailable
from services.runtime.logging import error_fields, service_logger
from services.runtime.policies import Command, admit_role, secure_table
from services.runtime.postgres_errors import typed_error
from services.runtime.streams import StreamProducer
from watertight.events.v1.usage_pb2 import UsageEntry

_CONNECT_SECONDS: Final = 5.0
_COMMAND_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 1.0

_TABLE: Final = f"""
CREATE TABLE outbox (
    tenant_id text NOT NULL,
    user_id text NOT NULL,
    thread_id text NOT NULL,
    outbox_id bigint GENERATED ALWAYS AS IDENTITY,
    usage_id text NOT NULL,
    entry bytea NOT NULL CHECK (length(entry) <= {MAXIMUM_ENTRY_BYTES}),
    enqueued_at timestamptz NOT NULL DEFAULT now(),
    due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sendings smallint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, user_id, usage_id, outbox_id)
)
"""
_INSERT: Final = text(
    "INSERT INTO outbox (tenant_id, user_id, thread_id, usage_id, entry)"
    " VALUES (:tenant_id, :user_id, :thread_id, :usage_id, :entry)"
)
# Within a thread the times at which rows are due are in the order of their writing, which the
# thread's row lock serialises: they are the clock's, and not the transaction's.
_SELECT: Final = (
    "SELECT outbox_id, entry FROM outbox WHERE due_at <= clock_timestamp()"
    " ORDER BY due_at, outbox_id LIMIT $1 FOR UPDATE SKIP LOCKED"
)
_SENT: Final = (
    "UPDATE outbox SET sendings = least(sendings + 1, 100), due_at = clock_timestamp()"
    " + make_interval(secs => $2::float8 * (1 << least(sendings, 3)))"
    " WHERE outbox_id = ANY($1::bigint[])"
)
# Of several relays each reads all confirmations. One whose row is locked leaves it to the other,
# which reads the confirmation after its own commit; or the row is sent, and confirmed, again.
_DELETE: Final = (
    "DELETE FROM outbox WHERE outbox_id = ANY(ARRAY("
    "SELECT outbox_id FROM outbox JOIN unnest($1::text[], $2::text[], $3::text[])"
    " AS confirmed (tenant_id, user_id, usage_id) USING (tenant_id, user_id, usage_id)"
    " FOR UPDATE OF outbox SKIP LOCKED))"
)


def create_outbox(role: str, relay_role: str) -> list[str]:
    """The table, its policies and grants, for a migration.

    The service adds rows under a thread's scope and cannot read any; the relay reads and deletes
    all, and changes when one is due.
    """
    return [
        _TABLE,
        "CREATE INDEX outbox_order ON outbox (outbox_id)",
        "CREATE INDEX outbox_due ON outbox (due_at, outbox_id)",
        *secure_table("outbox", role=role, insert=(ScopeKind.THREAD,)),
        *admit_role(
            "outbox",
            role=relay_role,
            purpose="relay",
            commands=(Command.SELECT, Command.DELETE),
            update=("due_at", "sendings"),
        ),
    ]


async def write_outbox(
    session: AsyncSession, context: UserExecutionContext, entry: UsageEntry
) -> None:
    """Adds an entry in the session's transaction, which must be in the context's thread.

    Raises:
        InvalidArgument: the entry is over 4 KiB, which none within its own limits is.
    """
    encoded = entry.SerializeToString(deterministic=True)
    if len(encoded) > MAXIMUM_ENTRY_BYTES:
        raise InvalidArgument(f"entry: expected at most {MAXIMUM_ENTRY_BYTES} bytes")
    row = {
        "tenant_id": context.tenant_id,
        "user_id": context.user_id,
        "thread_id": context.thread_id,
        "usage_id": entry.event.usage_id,
        "entry": encoded,
    }
    await session.execute(_INSERT, row)


class OutboxRelay:
    """Publishes the outbox until it is stopped.

    Several relays share the work: each takes rows that no other has locked. Within one thread rows
    become visible in the order of their numbers, for they are written under the thread's row lock.

    Args:
        url: of the database under the relay's role.
        producer: where the entries go.
        confirmations: what their consumers are done with.
        poll_seconds: how often to look when nobody calls `wake`.
        resend_seconds: after which a row that nobody has confirmed goes out again; twice as long
            after each time, three times over.
        batch: rows for each transaction.
    """

    def __init__(
        self,
        url: str,
        producer: StreamProducer,
        confirmations: Confirmations,
        *,
        poll_seconds: float = 0.5,
        resend_seconds: float = 10.0,
        batch: int = 100,
    ) -> None:
        self._url = url.replace("postgresql+asyncpg://", "postgresql://", 1)
        self._producer = producer
        self._confirmations = confirmations
        self._resend_seconds = resend_seconds
        self._poll_seconds = poll_seconds
        self._batch = batch
        self._woken = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self.published = 0

    async def start(self) -> None:
        """Begins to publish; it needs neither server yet."""
        self._stopping = False
        self._task = asyncio.create_task(self._run(), name="outbox-relay")

    def wake(self) -> None:
        """Says that there is a new row; without it the relay finds it when it looks next."""
        self._woken.set()

    async def stop(self, limit_seconds: float = 1.0) -> None:
        """Ends after the batch at hand, or is cancelled at the limit: its rows stay."""
        if self._task is None:
            return
        self._stopping = True
        self._woken.set()
        await asyncio.wait([self._task], timeout=limit_seconds)
        self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None

    async def _run(self) -> None:
        while not self._stopping:
            try:
                await self._relay()
            except Exception as error:  # noqa: BLE001 -- whatever it is, the rows are still there
                service_logger().warning("outbox relay waits", **error_fields(error))
                await self._wait(_RETRY_SECONDS)

    async def _relay(self) -> None:
        connection = await self._connect()
        try:
            while not self._stopping:
                self._woken.clear()
                # First: rows that are done with are not sent again, nor does a full stream keep
                # them.
                settled = await self._settle(connection)
                if await self._publish_batch(connection) < self._batch and not settled:
                    await self._wait(self._poll_seconds)
        finally:
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await connection.close(timeout=1.0)

    async def _connect(self) -> asyncpg.Connection[asyncpg.Record]:
        # A connection of its own: the relay serves no user, so there is no scope to bind, and no
        # way around scopes need exist in Database. Its policies go by its role.
        settings = {
            "application_name": "watertight-relay",
            "idle_in_transaction_session_timeout": "10000",
            "jit": "off",
        }
        return await asyncpg.connect(
            self._url,
            timeout=_CONNECT_SECONDS,
            command_timeout=_COMMAND_SECONDS,
            server_settings=settings,
        )

    async def _settle(self, connection: asyncpg.Connection[asyncpg.Record]) -> bool:
        """Deletes what was confirmed; whether there may be more confirmations to read at once."""
        page = await self._confirmations.read()
        if page.confirmed:
            columns = zip(
                *((c.tenant_id, c.user_id, c.usage_id) for c in page.confirmed), strict=True
            )
            try:
                await connection.execute(_DELETE, *(list(column) for column in columns))
            except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                raise (typed_error(error) or Unavailable()) from error
        self._confirmations.done(page)
        return page.full

    async def _publish_batch(self, connection: asyncpg.Connection[asyncpg.Record]) -> int:
        try:
            async with connection.transaction():
                rows = await connection.fetch(_SELECT, self._batch)
                if rows:
                    await self._producer.add([row["entry"] for row in rows])
                    sent = [row["outbox_id"] for row in rows]
                    await connection.execute(_SENT, sent, self._resend_seconds)
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise (typed_error(error) or Unavailable()) from error
        self.published += len(rows)
        return len(rows)

    async def _wait(self, limit_seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_seconds):
                await self._woken.wait()
