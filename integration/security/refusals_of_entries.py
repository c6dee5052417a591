"""Bad contexts at rest: entries of the stream, which go to the dead letters and touch nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from contracts.context import UserExecutionContext
from contracts.context.carriers.entry import ENTRY_FIELD, make_usage_entry
from integration.environment import Environment
from integration.security.inputs import MARKER
from integration.security.refusals import Case, Channel, Fault
from integration.security.sending import Said
from integration.security.stage import HOUR, RUN, Stage
from services.runtime.streams import usage_stream
from watertight.events.v1.usage_pb2 import UsageEntry, UsageEvent

MALFORMED: Final = "malformed"
"""What an entry is counted as, and its dead letter says."""

_GROUP: Final = "analytics"
_LIMIT_SECONDS: Final = 15.0
_TRACEPARENT: Final = f"00-{'1' * 32}-{'2' * 16}-01"
# The observer's entry, the dead letter, the acknowledgement; and nothing on anybody's data.
_BURIED: Final = ("1 command xack", "2 command xadd")
# Where it can be read of which usage it is, the outbox is told that sending it again is in vain.
_BURIED_AND_CONFIRMED: Final = ("1 command xack", "3 command xadd")

Change = Callable[[UsageEntry], object]


def good_entry(stage: Stage, context: UserExecutionContext) -> UsageEntry:
    """An entry as the backend's outbox would have it."""
    event = UsageEvent(
        usage_id=f"usage-{time.monotonic_ns()}",
        thread_id=stage.thread_id,
        run_id=RUN,
        input_characters=1,
        output_characters=1,
    )
    event.occurred_at.FromDatetime(datetime.now(UTC))
    return make_usage_entry(context, event, _TRACEPARENT, datetime.now(UTC))


def over_stream(stage: Stage) -> Iterator[Case]:
    """Entries that no producer of ours writes."""
    mine, theirs = stage.context(stage.mine), stage.context(stage.theirs)
    foreign = good_entry(stage, theirs)

    def changed(change: Change) -> bytes:
        entry = good_entry(stage, mine)
        change(entry)
        return entry.SerializeToString(deterministic=True)

    def expire(entry: UsageEntry) -> None:
        entry.enqueued_at.FromDatetime(datetime.now(UTC) + HOUR)

    def widen(entry: UsageEntry) -> None:
        entry.context.ClearField("run_id")
        entry.context.ClearField("thread_id")

    def splice(entry: UsageEntry) -> None:
        entry.event.run_id = "run-of-another"
        entry.context.user_id = theirs.user_id

    def cross(entry: UsageEntry) -> None:
        entry.context.CopyFrom(foreign.context)
        entry.event.ClearField("run_id")

    confirmed, unknown = _BURIED_AND_CONFIRMED, _BURIED
    good = changed(lambda _: None)
    for fault, detail, content, leaves in (
        (Fault.ABSENT, "no entry", b"", unknown),
        (Fault.ABSENT, "no context", changed(lambda e: e.ClearField("context")), unknown),
        (Fault.ABSENT, "no time", changed(lambda e: e.ClearField("enqueued_at")), confirmed),
        (Fault.MALFORMED, "no message", MARKER.encode(), unknown),
        (Fault.MALFORMED, "cut", good[:-9], unknown),
        (
            Fault.MALFORMED,
            "no tenant",
            changed(lambda e: e.context.ClearField("tenant_id")),
            unknown,
        ),
        (
            Fault.MALFORMED,
            "an identifier with a line's end",
            changed(lambda e: setattr(e.context, "user_id", "a\nb")),
            unknown,
        ),
        (Fault.EXPIRED, "before it was written", changed(expire), confirmed),
        (
            Fault.WIDENED,
            "a scope that does not exist",
            changed(lambda e: e.context.scopes.append("all")),
            confirmed,
        ),
        (Fault.WIDENED, "all of the user's threads", changed(widen), confirmed),
        (Fault.SPLICED, "my context, another's run", changed(splice), confirmed),
        (
            Fault.SPLICED,
            "their context, my event without its run",
            changed(cross),
            confirmed,
        ),
        (
            Fault.DUPLICATED,
            "two contexts",
            good + UsageEntry(context=foreign.context).SerializeToString(),
            confirmed,
        ),
        (
            Fault.OVERSIZED,
            "over 4 KiB",
            changed(lambda e: setattr(e, "traceparent", "a" * 5_000)),
            unknown,
        ),
    ):
        send = partial(_bury, stage.environment, content)
        yield Case(Channel.STREAM, fault, detail, "analytics", MALFORMED, send, leaves)


async def _bury(environment: Environment, content: bytes) -> Said:
    """Adds an entry as an observer may, and waits until nobody has anything to do with it."""
    stream = usage_stream(environment.names.redis_namespace)
    admin: Any = environment.valkey.admin

    def add() -> bytes:
        identifier: bytes = admin.xadd(stream, {ENTRY_FIELD: content})
        return identifier

    def done(identifier: bytes) -> bool:
        """Delivered to the group, and acknowledged."""
        (group,) = admin.xinfo_groups(stream)
        delivered = group["last-delivered-id"]
        reached = (delivered if isinstance(delivered, bytes) else delivered.encode()) == identifier
        return reached and group["pending"] == 0

    dead = await asyncio.to_thread(admin.xlen, f"{stream}:dead")
    identifier = await asyncio.to_thread(add)
    async with asyncio.timeout(_LIMIT_SECONDS):
        while not await asyncio.to_thread(done, identifier):  # noqa: ASYNC110 -- Redis tells nobody
            await asyncio.sleep(0.02)
    buried = await asyncio.to_thread(admin.xlen, f"{stream}:dead") - dead
    return Said(MALFORMED if buried == 1 else f"{buried} dead letters")
