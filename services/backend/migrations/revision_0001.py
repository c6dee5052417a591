"""Threads, their messages and events, the sessions, the outbox and the trail."""

from __future__ import annotations

from contracts.context import ScopeKind
from services.runtime.migrations import execute, further_role, service_role
from services.runtime.outbox import create_outbox
from services.runtime.policies import secure_table
from services.runtime.sessions import create_thread_contexts
from services.runtime.trail import create_trail

revision = "0001"
down_revision = None

# Every key leads with the whole owner: no constraint tells one owner of another's rows.
_TABLES = (
    """
    create table threads (
        tenant_id text not null,
        user_id text not null,
        thread_id text not null,
        title text not null,
        head_sequence bigint not null default 0 check (head_sequence >= 0),
        created_at timestamptz not null,
        primary key (tenant_id, user_id, thread_id)
    )
    """,
    """
    create table messages (
        tenant_id text not null,
        user_id text not null,
        thread_id text not null,
        sequence bigint not null check (sequence > 0),
        message_id text not null,
        run_id text not null,
        role text not null check (role in ('user', 'agent')),
        content text not null,
        created_at timestamptz not null,
        primary key (tenant_id, user_id, thread_id, sequence),
        unique (tenant_id, user_id, thread_id, message_id),
        foreign key (tenant_id, user_id, thread_id)
            references threads (tenant_id, user_id, thread_id)
    )
    """,
    "create index messages_runs on messages (tenant_id, user_id, thread_id, run_id)",
    """
    create table events (
        tenant_id text not null,
        user_id text not null,
        thread_id text not null,
        sequence bigint not null check (sequence > 0),
        type text not null,
        run_id text not null,
        request_id text not null,
        content text not null,
        created_at timestamptz not null,
        primary key (tenant_id, user_id, thread_id, sequence),
        foreign key (tenant_id, user_id, thread_id)
            references threads (tenant_id, user_id, thread_id)
    )
    """,
)
_DROPPED = ("trail", "outbox", "thread_contexts", "events", "messages", "threads")


def upgrade() -> None:
    """Creates the tables, their policies and the login roles' rights."""
    role = service_role()
    thread = (ScopeKind.THREAD,)
    user_or_thread = (ScopeKind.USER, ScopeKind.THREAD)
    execute(_TABLES)
    execute(secure_table("threads", role=role, select=user_or_thread, insert=thread, update=thread))
    execute(secure_table("messages", role=role, select=thread, insert=thread))
    execute(secure_table("events", role=role, select=thread, insert=thread))
    execute(create_thread_contexts(role))
    execute(create_outbox(role, further_role("relay")))
    execute(create_trail(role))


def downgrade() -> None:
    """Drops all of it, rows included."""
    execute([f"drop table {table}" for table in _DROPPED])
