"""What auth knows of tenants, users and their sessions, and the rules between them. No I/O."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from contracts.context import (
    ADMINISTRATOR_SCOPES,
    MEMBER_SCOPES,
    Scope,
    SessionId,
    TenantId,
    UserId,
)

REFRESH_TOKEN_BITS: Final = 256
_REFRESH_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
# Clocks of replicas differ; a revocation is kept a little longer than any token can be valid.
_REVOCATION_MARGIN: Final = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class User:
    """One account. Its identifier is unique over tenants, its log-in name within one."""

    tenant_id: TenantId
    user_id: UserId
    login_name: str
    administrator: bool
    password_hash: str = field(repr=False)

    @property
    def scopes(self) -> frozenset[Scope]:
        """What the user's access tokens may do."""
        return ADMINISTRATOR_SCOPES if self.administrator else MEMBER_SCOPES


@dataclass(frozen=True, slots=True)
class Session:
    """One log-in, until it ends by log-out, revocation, reuse of a refresh token, or age."""

    tenant_id: TenantId
    user_id: UserId
    session_id: SessionId
    expires_at: datetime
    ended_at: datetime | None = None

    def is_live(self, now: datetime) -> bool:
        """Whether its tokens may be used."""
        return self.ended_at is None and now < self.expires_at


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """What is stored of a refresh token: its hash, and whether it has been used."""

    token_hash: str
    session_id: SessionId
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Grant:
    """What a log-in or a refresh gives."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in_seconds: int
    tenant_id: TenantId
    user_id: UserId


def new_refresh_token() -> str:
    """256 random bits in 43 characters (RFC 6749, section 10.10)."""
    return secrets.token_urlsafe(REFRESH_TOKEN_BITS // 8)


def refresh_token_hash(token: str) -> str | None:
    """What a refresh token is stored as, or `None` for what cannot be one.

    A fast hash is enough: 256 random bits cannot be guessed, unlike a password.
    """
    if _REFRESH_TOKEN.fullmatch(token) is None:
        return None
    return hashlib.sha256(token.encode()).hexdigest()


def access_token_end(session: Session, now: datetime, life: timedelta) -> datetime:
    """When an access token issued now ends: never after its session."""
    return min(now + life, session.expires_at)


def revocation_end(session: Session, now: datetime, access_token_life: timedelta) -> datetime:
    """From when on no token of a session that ends now can be valid."""
    return access_token_end(session, now, access_token_life) + _REVOCATION_MARGIN
