"""A small service's tables, for the runtime's own tests."""

from __future__ import annotations

from contracts.context import ScopeKind
from services.runtime.migrations import execute, service_role
from services.runtime.outbox import create_outbox
from services.runtime.policies import Lookup, secure_table
from services.runtime.sessions import create_thread_contexts
from services.runtime.trail import create_trail

revision = "0001"
down_revision = None

_THREADS = """
create table threads (
    tenant_id text not null,
    user_id text not null,
    thread_id text not null,
    primary key (tenant_id, user_id, thread_id)
)
"""
_NOTES = """
create table notes (
    tenant_id text not null,
    user_id text not null,
    thread_id text not null,
    note_id text not null,
    body text not null,
    length integer,
    primary key (tenant_id, user_id, thread_id, note_id)
)
"""
_LOGINS = """
create table logins (
    tenant_id text not null,
    user_id text not null,
    login_name text not null,
    primary key (tenant_id, user_id),
    unique (tenant_id, login_name)
)
"""
_TOKENS = """
create table tokens (
    tenant_id text not null,
    user_id text not null,
    token_hash text not null,
    primary key (tenant_id, user_id, token_hash)
)
"""


def upgrade() -> None:
    """Creates a table for each way of admitting scopes."""
    role = service_role()
    user, thread = ScopeKind.USER, ScopeKind.THREAD
    execute([_THREADS, _NOTES, _LOGINS, _TOKENS])
    execute(
        secure_table("threads", role=role, select=(user, thread), insert=(user,), delete=(thread,))
    )
    execute(
        secure_table(
            "notes",
            role=role,
            select=(user, thread, ScopeKind.TENANT),
            insert=(thread,),
            update=(thread,),
        )
    )
    execute(
        secure_table(
            "logins",
            role=role,
            select=(ScopeKind.LOGIN, user),
            insert=(ScopeKind.SYSTEM,),
            columns=("tenant_id", "user_id"),
            lookup=Lookup("login_name", with_tenant=True),
        )
    )
    execute(
        secure_table(
            "tokens",
            role=role,
            select=(ScopeKind.LOGIN,),
            insert=(user,),
            columns=("tenant_id", "user_id"),
            lookup=Lookup("token_hash", with_tenant=False),
        )
    )
    execute(create_thread_contexts(role))
    execute(create_outbox(role, "probe_relay"))
    execute(create_trail(role))


def downgrade() -> None:
    """Nobody goes back."""
    raise NotImplementedError
