"""Auth's own edges ask the database whether a session lives: nobody can know sooner."""

from __future__ import annotations

from contracts.context import Principal
from services.auth.sessions import Sessions
from services.runtime.postgres import Database
from services.runtime.tokens import TokenVerifier


class DatabaseAuthenticator:
    """An `Authenticator` whose revocation bound is zero."""

    def __init__(self, database: Database, verifier: TokenVerifier, sessions: Sessions) -> None:
        self._database = database
        self._verifier = verifier
        self._sessions = sessions

    async def authenticate(self, access_token: str) -> Principal:
        """See `services.runtime.authentication.Authenticator`."""
        principal = await self._verifier.verify_access(access_token)
        async with self._database.transaction(principal.data_scope) as session:
            await self._sessions.require_live(session, principal)
        return principal
