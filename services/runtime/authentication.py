"""Who calls from outside: a verified access token whose session still lives."""

from __future__ import annotations

from typing import Protocol

from contracts.context import Principal, SessionId
from services.runtime.tokens import TokenVerifier


class Authenticator(Protocol):
    """Tells whom an access token speaks for, now."""

    async def authenticate(self, access_token: str) -> Principal:
        """The principal of a valid token of a live session.

        Raises:
            Unauthenticated: the token is not valid, or its session has ended.
            Unavailable: nobody can tell at present.
        """


class LiveSessions(Protocol):
    """Tells whether a session has ended."""

    def require_live(self, session_id: SessionId) -> None:
        """Raises `Unauthenticated` when it has ended, `Unavailable` when nobody can tell."""


class TokenAuthenticator:
    """Verifies the token by auth's keys, and asks for the session's life each time."""

    def __init__(self, verifier: TokenVerifier, sessions: LiveSessions) -> None:
        self._verifier = verifier
        self._sessions = sessions

    async def authenticate(self, access_token: str) -> Principal:
        """See `Authenticator`."""
        principal = await self._verifier.verify_access(access_token)
        self._sessions.require_live(principal.session_id)
        return principal
