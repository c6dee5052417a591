"""Tenants, users, sessions, refresh tokens, revocations and the trail."""

from __future__ import annotations

from contracts.context import ScopeKind
from services.runtime.migrations import execute, further_role, service_role
from services.runtime.policies import Command, Lookup, admit_role, secure_table
from services.runtime.trail import create_trail

revision = "0001"
down_revision = None

# Keys lead with the owner. Two do not, since they find the owner: a tenant by the name that is
# typed at log-in, and a refresh token by the hash of 256 random bits.
_TABLES = (
    """
    create table tenants (
        tenant_id text not null primary key,
        name text not null unique,
        created_at timestamptz not null
    )
    """,
    """
    create table users (
        tenant_id text not null references tenants (tenant_id),
        user_id text not null,
        login_name text not null,
        password_hash text not null,
        administrator boolean not null,
        created_at timestamptz not null,
        primary key (tenant_id, user_id),
        unique (tenant_id, login_name)
    )
    """,
    """
    create table sessions (
        tenant_id text not null,
        user_id text not null,
        session_id text not null,
        created_at timestamptz not null,
        expires_at timestamptz not null,
        ended_at timestamptz,
        primary key (tenant_id, user_id, session_id),
        foreign key (tenant_id, user_id) references users (tenant_id, user_id)
    )
    """,
    """
    create table refresh_tokens (
        tenant_id text not null,
        user_id text not null,
        session_id text not null,
        token_hash text not null unique,
        issued_at timestamptz not null,
        used_at timestamptz,
        primary key (tenant_id, user_id, session_id, token_hash),
        foreign key (tenant_id, user_id, session_id)
            references sessions (tenant_id, user_id, session_id)
    )
    """,
    """
    create table revocations (
        tenant_id text not null,
        user_id text not null,
        session_id text not null,
        sequence bigint not null,
        expires_at timestamptz not null,
        primary key (tenant_id, user_id, session_id)
    )
    """,
    "create index revocations_in_order on revocations (sequence)",
    # Its row's lock puts the sequence in the order of commits; it says nothing of anybody.
    """
    create table revocation_head (
        only_one boolean not null primary key default true check (only_one),
        sequence bigint not null
    )
    """,
    "insert into revocation_head (sequence) values (0)",
)
_DROPPED = (
    "trail",
    "revocation_head",
    "revocations",
    "refresh_tokens",
    "sessions",
    "users",
    "tenants",
)


def upgrade() -> None:
    """Creates the tables, their policies and the login roles' rights."""
    role = service_role()
    execute(_TABLES)
    execute(_policies(role))
    execute(create_trail(role))


def downgrade() -> None:
    """Drops all of it, rows included."""
    execute([f"drop table {table}" for table in _DROPPED])


def _policies(role: str) -> list[str]:
    revocations = further_role("revocations")
    login, user, system = ScopeKind.LOGIN, ScopeKind.USER, ScopeKind.SYSTEM
    owner = ("tenant_id", "user_id")
    return [
        *secure_table(
            "tenants",
            role=role,
            select=(login, system),
            insert=(system,),
            columns=("tenant_id",),
            lookup=Lookup("name", with_tenant=False),
        ),
        *secure_table(
            "users",
            role=role,
            select=(login, user, system),
            insert=(system,),
            columns=owner,
            lookup=Lookup("login_name", with_tenant=True),
        ),
        *secure_table(
            "sessions",
            role=role,
            select=(user, system),
            insert=(user,),
            update=(user, system),
            columns=owner,
        ),
        *secure_table(
            "refresh_tokens",
            role=role,
            select=(login, user),
            insert=(user,),
            update=(user,),
            columns=owner,
            lookup=Lookup("token_hash", with_tenant=False),
        ),
        *secure_table("revocations", role=role, insert=(user, system), columns=owner),
        *admit_role(
            "revocations",
            role=revocations,
            purpose="feed",
            commands=(Command.SELECT, Command.DELETE),
        ),
        *secure_table("revocation_head", role=role, columns=()),
        *admit_role(
            "revocation_head",
            role=role,
            purpose="service",
            commands=(Command.SELECT, Command.UPDATE),
        ),
        *admit_role(
            "revocation_head", role=revocations, purpose="feed", commands=(Command.SELECT,)
        ),
    ]
