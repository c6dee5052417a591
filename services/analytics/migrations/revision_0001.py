"""Usage events and the trail."""

from __future__ import annotations

from contracts.context import ScopeKind
from services.runtime.migrations import execute, service_role
from services.runtime.policies import secure_table
from services.runtime.trail import create_trail

revision = "0001"
down_revision = None

# One row for each run, whichever way it was told, and however often: the key is the effect's.
_USAGE_EVENTS = """
create table usage_events (
    tenant_id text not null,
    user_id text not null,
    usage_id text not null,
    thread_id text not null,
    run_id text not null,
    input_characters bigint not null check (input_characters >= 0),
    output_characters bigint not null check (output_characters >= 0),
    occurred_at timestamptz not null,
    recorded_at timestamptz not null default now(),
    primary key (tenant_id, user_id, usage_id)
)
"""
_BY_THREAD = "create index usage_events_of_thread on usage_events (tenant_id, user_id, thread_id)"


def upgrade() -> None:
    """Creates the tables, their policies and the login role's rights."""
    role = service_role()
    execute([_USAGE_EVENTS, _BY_THREAD])
    execute(
        secure_table(
            "usage_events",
            role=role,
            select=(ScopeKind.THREAD, ScopeKind.TENANT),
            insert=(ScopeKind.THREAD,),
        )
    )
    execute(create_trail(role))


def downgrade() -> None:
    """Drops all of it, rows included."""
    execute(["drop table trail", "drop table usage_events"])
