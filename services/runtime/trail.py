"""The trail: who did what under which context, and how it ended. Append-only, and never content.

What gets a row:

- what was done: `ok`, in its own transaction, so that neither exists without the other;
- what was refused to a known caller by what the rows say, such as another's object, a name that
  is taken, a refresh token that was used: `refused`, under the caller's own context. A log-in with
  a wrong password is its tenant's.

What gets none: what the boundary refused, since nobody is known for whom it would be and nothing
may be touched (it is logged and counted); what is malformed; what is no tenant's, such as a log-in
to a tenant that does not exist or the refused name of a second one; and what failed, since its row
is rolled back with all else (log and span tell of it).

The service's role may only add rows; it can neither read, change nor remove any.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum, unique
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.context import RequestId, ScopeKind, TenantId, UserExecutionContext, UserId
from services.runtime.policies import secure_table

MAXIMUM_ACTION_CHARACTERS: Final = 64
_ACTION: Final = re.compile(r"[a-z_]+(\.[a-z_]+)*")
_TRACE: Final = re.compile(r"[0-9a-f]{32}")

_TABLE: Final = """
CREATE TABLE trail (
    tenant_id text NOT NULL,
    trail_id uuid NOT NULL DEFAULT gen_random_uuid(),
    occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    user_id text,
    thread_id text,
    run_id text,
    request_id text NOT NULL,
    parent_request_id text,
    trace_id text NOT NULL CHECK (trace_id ~ '^[0-9a-f]{32}$'),
    action text NOT NULL CHECK (length(action) <= 64 AND action ~ '^[a-z_]+([.][a-z_]+)*$'),
    outcome text NOT NULL CHECK (outcome IN ('ok', 'refused')),
    PRIMARY KEY (tenant_id, trail_id)
)
"""

_INSERT: Final = text(
    "INSERT INTO trail (tenant_id, user_id, thread_id, run_id, request_id, parent_request_id,"
    " trace_id, action, outcome) VALUES (:tenant_id, :user_id, :thread_id, :run_id, :request_id,"
    " :parent_request_id, :trace_id, :action, :outcome)"
)


@unique
class TrailOutcome(StrEnum):
    """How an action ended."""

    OK = "ok"
    REFUSED = "refused"


def create_trail(role: str) -> list[str]:
    """The table, its policies and the role's one grant, for a migration.

    Kinds `user` and `thread` write rows of just that user or thread; `system` writes rows of its
    tenant, for what happens before a user is known.
    """
    kinds = (ScopeKind.USER, ScopeKind.THREAD, ScopeKind.SYSTEM)
    return [_TABLE, *secure_table("trail", role=role, insert=kinds)]


class Trail:
    """Writes rows into the trail of the service's own database."""

    async def record(
        self,
        session: AsyncSession,
        context: UserExecutionContext,
        *,
        action: str,
        outcome: TrailOutcome,
        trace_id: str,
    ) -> None:
        """Says that an action under this context ended so, in the session's transaction.

        Args:
            session: of a transaction in the context's own scope, or its user's.
            context: for whom and where it was done.
            action: what, in fixed words such as `threads.create`.
            outcome: how it ended.
            trace_id: the operation's trace, 32 hexadecimal digits.
        """
        row = {
            "tenant_id": context.tenant_id,
            "user_id": context.user_id,
            "thread_id": context.thread_id,
            "run_id": context.run_id,
            "request_id": context.request_id,
            "parent_request_id": context.parent_request_id,
        }
        await _insert(session, row, action, outcome, trace_id)

    async def record_principal(
        self,
        session: AsyncSession,
        *,
        tenant_id: TenantId,
        user_id: UserId | None,
        request_id: RequestId,
        action: str,
        outcome: TrailOutcome,
        trace_id: str,
    ) -> None:
        """The same where there is no context yet, such as a log-in.

        `user_id` is None only under kind `system`: nobody of the tenant was found.
        """
        row = {
            "tenant_id": tenant_id,
            "user_id": user_id,
            "thread_id": None,
            "run_id": None,
            "request_id": request_id,
            "parent_request_id": None,
        }
        await _insert(session, row, action, outcome, trace_id)


async def _insert(
    session: AsyncSession,
    row: Mapping[str, str | None],
    action: str,
    outcome: TrailOutcome,
    trace_id: str,
) -> None:
    if len(action) > MAXIMUM_ACTION_CHARACTERS or _ACTION.fullmatch(action) is None:
        raise ValueError("action: expected at most 64 characters of words joined by dots")
    if _TRACE.fullmatch(trace_id) is None:
        raise ValueError("trace_id: expected 32 hexadecimal digits")
    more = {"trace_id": trace_id, "action": action, "outcome": str(outcome)}
    await session.execute(_INSERT, {**row, **more})
