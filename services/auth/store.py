"""Auth's rows: one function for each statement, all within a transaction that somebody scoped.

Each statement names the owner that it means, although row-level security compares it, too: a wrong
scope then finds nothing rather than another's row.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.context import SessionId, TenantId, UserId
from services.auth.domain import RefreshToken, Session, User

_USER_COLUMNS: Final = "tenant_id, user_id, login_name, administrator, password_hash"
_SESSION_COLUMNS: Final = "tenant_id, user_id, session_id, expires_at, ended_at"


async def add_tenant(
    session: AsyncSession, tenant_id: TenantId, name: str, created_at: datetime
) -> None:
    """Stores a tenant. Raises `ConstraintViolated` when the name is taken."""
    await session.execute(
        text("INSERT INTO tenants (tenant_id, name, created_at) VALUES (:tenant_id, :name, :now)"),
        {"tenant_id": tenant_id, "name": name, "now": created_at},
    )


async def find_tenant(session: AsyncSession, name: str) -> TenantId | None:
    """The tenant of this name, which the scope is a look-up of."""
    found = await session.execute(
        text("SELECT tenant_id FROM tenants WHERE name = :name"), {"name": name}
    )
    value = found.scalar_one_or_none()
    return None if value is None else TenantId(value)


async def add_user(session: AsyncSession, user: User, created_at: datetime) -> None:
    """Stores a user. Raises `ConstraintViolated` when the tenant has the log-in name already."""
    await session.execute(
        text(
            f"INSERT INTO users ({_USER_COLUMNS}, created_at) VALUES"  # noqa: S608 -- constant columns
            " (:tenant_id, :user_id, :login_name, :administrator, :password_hash, :now)"
        ),
        {
            "tenant_id": user.tenant_id,
            "user_id": user.user_id,
            "login_name": user.login_name,
            "administrator": user.administrator,
            "password_hash": user.password_hash,
            "now": created_at,
        },
    )


async def find_login(session: AsyncSession, tenant_id: TenantId, login_name: str) -> User | None:
    """The tenant's user of this log-in name, which the scope is a look-up of."""
    found = await session.execute(
        text(
            f"SELECT {_USER_COLUMNS} FROM users"  # noqa: S608 -- constant columns
            " WHERE tenant_id = :tenant_id AND login_name = :login_name"
        ),
        {"tenant_id": tenant_id, "login_name": login_name},
    )
    return _user(found.one_or_none())


async def get_user(session: AsyncSession, tenant_id: TenantId, user_id: UserId) -> User | None:
    """The tenant's user of this identifier."""
    found = await session.execute(
        text(
            f"SELECT {_USER_COLUMNS} FROM users"  # noqa: S608 -- constant columns
            " WHERE tenant_id = :tenant_id AND user_id = :user_id"
        ),
        {"tenant_id": tenant_id, "user_id": user_id},
    )
    return _user(found.one_or_none())


async def add_session(session: AsyncSession, opened: Session, created_at: datetime) -> None:
    """Stores a session."""
    await session.execute(
        text(
            "INSERT INTO sessions (tenant_id, user_id, session_id, created_at, expires_at)"
            " VALUES (:tenant_id, :user_id, :session_id, :now, :expires_at)"
        ),
        {**_key(opened), "now": created_at, "expires_at": opened.expires_at},
    )


async def get_session(
    session: AsyncSession,
    tenant_id: TenantId,
    user_id: UserId,
    session_id: SessionId,
    *,
    lock: bool = False,
) -> Session | None:
    """The user's session; locked until the transaction ends, where asked."""
    found = await session.execute(
        text(
            f"SELECT {_SESSION_COLUMNS} FROM sessions WHERE tenant_id = :tenant_id"  # noqa: S608 -- constants
            f" AND user_id = :user_id AND session_id = :session_id{' FOR UPDATE' if lock else ''}"
        ),
        {"tenant_id": tenant_id, "user_id": user_id, "session_id": session_id},
    )
    row = found.one_or_none()
    return None if row is None else _session(row)


async def lock_live_sessions(
    session: AsyncSession, tenant_id: TenantId, user_id: UserId, now: datetime
) -> list[Session]:
    """The user's sessions that have not ended, locked until the transaction ends."""
    found = await session.execute(
        text(
            f"SELECT {_SESSION_COLUMNS} FROM sessions"  # noqa: S608 -- constant columns
            " WHERE tenant_id = :tenant_id AND user_id = :user_id AND ended_at IS NULL"
            " AND expires_at > :now ORDER BY session_id FOR UPDATE"
        ),
        {"tenant_id": tenant_id, "user_id": user_id, "now": now},
    )
    return [_session(row) for row in found]


async def end_session(
    session: AsyncSession, ended: Session, *, now: datetime, refused_until: datetime
) -> None:
    """Ends a session and tells the feed, in one transaction.

    The head's row lock is held until the commit, so sequence numbers come in the order of commits:
    a reader that has seen one has seen all before it.
    """
    await session.execute(
        text(
            "UPDATE sessions SET ended_at = :now WHERE tenant_id = :tenant_id"
            " AND user_id = :user_id AND session_id = :session_id AND ended_at IS NULL"
        ),
        {**_key(ended), "now": now},
    )
    head = await session.execute(
        text("UPDATE revocation_head SET sequence = sequence + 1 RETURNING sequence")
    )
    await session.execute(
        text(
            "INSERT INTO revocations (tenant_id, user_id, session_id, sequence, expires_at)"
            " VALUES (:tenant_id, :user_id, :session_id, :sequence, :expires_at)"
        ),
        {**_key(ended), "sequence": head.scalar_one(), "expires_at": refused_until},
    )


async def add_refresh_token(
    session: AsyncSession, owner: Session, token_hash: str, issued_at: datetime
) -> None:
    """Stores the hash of a session's newest refresh token."""
    await session.execute(
        text(
            "INSERT INTO refresh_tokens (tenant_id, user_id, session_id, token_hash, issued_at)"
            " VALUES (:tenant_id, :user_id, :session_id, :token_hash, :now)"
        ),
        {**_key(owner), "token_hash": token_hash, "now": issued_at},
    )


async def find_refresh_token(
    session: AsyncSession, token_hash: str
) -> tuple[TenantId, UserId, SessionId] | None:
    """Whose refresh token has this hash, which the scope is a look-up of."""
    found = await session.execute(
        text(
            "SELECT tenant_id, user_id, session_id FROM refresh_tokens"
            " WHERE token_hash = :token_hash"
        ),
        {"token_hash": token_hash},
    )
    row = found.one_or_none()
    if row is None:
        return None
    return TenantId(row.tenant_id), UserId(row.user_id), SessionId(row.session_id)


async def get_refresh_token(
    session: AsyncSession, owner: Session, token_hash: str
) -> RefreshToken | None:
    """The session's refresh token of this hash."""
    found = await session.execute(
        text(
            "SELECT token_hash, session_id, used_at FROM refresh_tokens"
            " WHERE tenant_id = :tenant_id AND user_id = :user_id"
            " AND session_id = :session_id AND token_hash = :token_hash"
        ),
        {**_key(owner), "token_hash": token_hash},
    )
    row = found.one_or_none()
    if row is None:
        return None
    return RefreshToken(row.token_hash, SessionId(row.session_id), row.used_at)


async def use_refresh_token(
    session: AsyncSession, owner: Session, token_hash: str, now: datetime
) -> None:
    """Says that a refresh token has been used: it is good no more."""
    await session.execute(
        text(
            "UPDATE refresh_tokens SET used_at = :now WHERE tenant_id = :tenant_id"
            " AND user_id = :user_id AND session_id = :session_id AND token_hash = :token_hash"
        ),
        {**_key(owner), "token_hash": token_hash, "now": now},
    )


def _key(session: Session) -> dict[str, Any]:
    return {
        "tenant_id": session.tenant_id,
        "user_id": session.user_id,
        "session_id": session.session_id,
    }


def _user(row: Row[Any] | None) -> User | None:
    if row is None:
        return None
    return User(
        tenant_id=TenantId(row.tenant_id),
        user_id=UserId(row.user_id),
        login_name=row.login_name,
        administrator=row.administrator,
        password_hash=row.password_hash,
    )


def _session(row: Row[Any]) -> Session:
    return Session(
        tenant_id=TenantId(row.tenant_id),
        user_id=UserId(row.user_id),
        session_id=SessionId(row.session_id),
        expires_at=row.expires_at,
        ended_at=row.ended_at,
    )
