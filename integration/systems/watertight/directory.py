"""Who is who: the audit's labels, and the identifiers and sessions that our system gave them."""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass, field
from typing import Final

from contracts.context import TenantId, ThreadId, UserId
from integration.audit import Call, Scope
from integration.clients.auth import AuthClient
from integration.clients.results import Session

# An access token that ends sooner is renewed before it is used.
_RENEW_SECONDS: Final = 60.0


@dataclass(slots=True)
class OpenSession:
    """One principal's log-in, and when its access token ends on the monotonic clock."""

    session: Session
    ends: float
    renewing: asyncio.Lock = field(default_factory=asyncio.Lock)
    over: bool = False

    @property
    def stale(self) -> bool:
        """Whether the access token should be renewed before it is used."""
        return not self.over and time.monotonic() > self.ends - _RENEW_SECONDS


def opened(session: Session) -> OpenSession:
    """A session that was opened or renewed just now."""
    return OpenSession(session, time.monotonic() + session.expires_in)


class Directory:
    """The labels' counterparts in our system."""

    def __init__(self, auth: AuthClient) -> None:
        self._auth = auth
        self.tenants: dict[Scope, TenantId] = {}
        self.users: dict[Scope, UserId] = {}
        self.threads: dict[Scope, ThreadId] = {}
        self.sessions: dict[str, OpenSession] = {}

    async def token(self, principal: str) -> str:
        """The principal's access token, renewed where it is about to end.

        A session that was logged out keeps its last one: the system has to refuse it.
        """
        opened_session = self.sessions[principal]
        async with opened_session.renewing:
            if opened_session.stale:
                renewed = opened(await self._auth.refresh(opened_session.session.refresh_token))
                opened_session.session, opened_session.ends = renewed.session, renewed.ends
        return opened_session.session.access_token

    def addressed(self, call: Call) -> ThreadId:
        """The thread that a call addresses; one that exists nowhere where it shall be absent."""
        if call.absent:
            return ThreadId(hashlib.sha256(call.trace.encode()).hexdigest()[:32])
        return self.threads[call.scope]
