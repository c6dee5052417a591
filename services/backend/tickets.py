"""Single-use tickets: how a browser, which cannot set headers, opens a WebSocket.

A ticket is 256 random bits and lives 30 s. Redis holds it by its SHA-256 alone, so that whoever
reads Redis cannot use it, and gives it out once.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from contracts.context import (
    DataScope,
    Principal,
    SessionId,
    TenantId,
    UserId,
    parse_scopes,
)
from services.runtime.errors import Unauthenticated
from services.runtime.redis import ScopedRedis

NAMESPACE: Final = "websocket-ticket"
LIFETIME_SECONDS: Final = 30
_TICKET: Final = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket, and for how many seconds it may be used."""

    value: str = field(repr=False)
    expires_in: int


class Tickets:
    """Issues tickets to log-ins, and takes each once."""

    def __init__(self, redis: ScopedRedis, *, clock: Callable[[], datetime]) -> None:
        self._redis = redis
        self._clock = clock

    async def issue(self, principal: Principal) -> Ticket:
        """A ticket that speaks for this log-in, and ends no later than it.

        Raises:
            Unauthenticated: the log-in ends within a second.
            Unavailable: Redis does not answer.
        """
        remaining = int((principal.expires_at - self._clock()).total_seconds())
        if remaining < 1:
            raise Unauthenticated("the log-in has expired")
        ticket = Ticket(secrets.token_urlsafe(32), min(LIFETIME_SECONDS, remaining))
        await self._redis.set(
            NAMESPACE,
            _scope(ticket.value),
            value=_encode(principal),
            lifetime_seconds=ticket.expires_in,
        )
        return ticket

    async def redeem(self, value: str) -> Principal:
        """The log-in that the ticket speaks for; the ticket is used up.

        Raises:
            Unauthenticated: there is no such ticket, or no longer.
            Unavailable: Redis does not answer.
        """
        if _TICKET.fullmatch(value) is None:
            raise Unauthenticated("expected a valid ticket")
        entry = await self._redis.take(NAMESPACE, _scope(value))
        if entry is None:
            raise Unauthenticated("expected a valid ticket")
        return _decode(entry)


def _scope(value: str) -> DataScope:
    return DataScope.login(hashlib.sha256(value.encode()).hexdigest())


def _encode(principal: Principal) -> bytes:
    return json.dumps(
        {
            "tenant_id": principal.tenant_id,
            "user_id": principal.user_id,
            "session_id": principal.session_id,
            "scopes": sorted(principal.scopes),
            "expires_at": principal.expires_at.timestamp(),
        }
    ).encode()


def _decode(entry: bytes) -> Principal:
    fields = json.loads(entry)
    return Principal(
        tenant_id=TenantId(fields["tenant_id"]),
        user_id=UserId(fields["user_id"]),
        session_id=SessionId(fields["session_id"]),
        scopes=parse_scopes(fields["scopes"]),
        expires_at=datetime.fromtimestamp(fields["expires_at"], UTC),
    )
