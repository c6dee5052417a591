"""Sessions: from log-in over refresh to their end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession
from structlog.stdlib import BoundLogger

from contracts.context import DataScope, Principal, SessionId, TenantId, UserId
from services.auth import store
from services.auth.domain import (
    Grant,
    Session,
    User,
    access_token_end,
    new_refresh_token,
    refresh_token_hash,
    revocation_end,
)
from services.auth.passwords import Passwords
from services.auth.signing import TokenIssuer
from services.runtime.calls import EdgeCall, PublicCall, new_id
from services.runtime.errors import NotFound, Unauthenticated
from services.runtime.postgres import Database
from services.runtime.trail import Trail, TrailOutcome

# Looked up where no tenant has the name, so that every log-in runs the same statements.
_NO_TENANT: Final = TenantId("0" * 32)


class Sessions:
    """Opens, continues and ends sessions.

    Args:
        access_token_life: of each access token, but never beyond its session.
        session_life: of a session, however often it is refreshed.
    """

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        issuer: TokenIssuer,
        *,
        access_token_life: timedelta,
        session_life: timedelta,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._issuer = issuer
        self._access_token_life = access_token_life
        self._session_life = session_life
        self._trail = Trail()

    async def log_in(
        self, call: PublicCall, tenant_name: str, login_name: str, password: str
    ) -> Grant:
        """A new session.

        Raises:
            Unauthenticated: no such tenant, no such user, or not the password. The answers are
                equal, and so is the work.
        """
        async with self._database.transaction(DataScope.login(tenant_name)) as session:
            tenant_id = await store.find_tenant(session, tenant_name)
        scope = DataScope.login(login_name, tenant_id or _NO_TENANT)
        async with self._database.transaction(scope) as session:
            user = await store.find_login(session, tenant_id or _NO_TENANT, login_name)
        right = await self._passwords.verify(None if user is None else user.password_hash, password)
        if user is None or not right:
            await self._record_refusal(call, tenant_id)
            raise Unauthenticated("expected a tenant, a log-in name and its password")
        now = datetime.now(UTC)
        opened = Session(
            user.tenant_id, user.user_id, SessionId(new_id()), now + self._session_life
        )
        async with self._database.transaction(_scope(opened)) as session:
            await store.add_session(session, opened, now)
            refresh_token = await self._add_refresh_token(session, opened, now)
            await self._record(session, call, opened, "sessions.log_in", TrailOutcome.OK)
        _log_of(call, opened).info("logged in")
        return self._grant(user, opened, refresh_token, now)

    async def refresh(self, call: PublicCall, refresh_token: str) -> Grant:
        """New tokens for the session, in place of these.

        A refresh token is good once. Who presents it again may have stolen it, or been stolen from:
        the session ends for both (RFC 9700, section 4.14.2).

        Raises:
            Unauthenticated: it is unknown or used, or its session has ended.
        """
        token_hash = refresh_token_hash(refresh_token)
        if token_hash is None:
            raise Unauthenticated
        async with self._database.transaction(DataScope.login(token_hash)) as session:
            owner = await store.find_refresh_token(session, token_hash)
        if owner is None:
            raise Unauthenticated
        tenant_id, user_id, _ = owner
        async with self._database.transaction(DataScope.user(tenant_id, user_id)) as session:
            grant = await self._rotate(session, call, owner, token_hash)
        # Raised after the commit: the end of a session must not be rolled back with its refusal.
        if grant is None:
            raise Unauthenticated
        return grant

    async def log_out(self, call: EdgeCall) -> None:
        """Ends the caller's session: once acknowledged it is refused everywhere, within 2 s."""
        principal = call.principal
        now = datetime.now(UTC)
        async with self._database.transaction(principal.data_scope) as session:
            opened = await store.get_session(
                session,
                principal.tenant_id,
                principal.user_id,
                principal.session_id,
                lock=True,
            )
            if opened is not None and opened.ended_at is None:
                await self._end(session, opened, now)
            await self._trail.record(
                session,
                call.context,
                action="sessions.log_out",
                outcome=TrailOutcome.OK,
                trace_id=call.trace.trace_id,
            )
        call.log.info("logged out", session_id=principal.session_id)

    async def revoke_user(self, call: EdgeCall, user_id: UserId) -> None:
        """Ends all sessions of a user of the caller's own tenant; for its administrators.

        Raises:
            NotFound: the tenant has no such user.
        """
        tenant_id = call.context.tenant_id
        now = datetime.now(UTC)
        async with self._database.transaction(DataScope.system(tenant_id)) as session:
            known = await store.get_user(session, tenant_id, user_id) is not None
            opened = await store.lock_live_sessions(session, tenant_id, user_id, now)
            for one in opened:
                await self._end(session, one, now)
            await self._trail.record(
                session,
                call.context,
                action="users.revoke",
                outcome=TrailOutcome.OK if known else TrailOutcome.REFUSED,
                trace_id=call.trace.trace_id,
            )
        # Raised after the commit: the refusal's own row must not be rolled back with it.
        if not known:
            raise NotFound
        call.log.info("user revoked", revoked_user_id=user_id, sessions=len(opened))

    async def require_live(self, session: AsyncSession, principal: Principal) -> None:
        """Refuses a principal whose session has ended, as the database knows it now.

        Raises:
            Unauthenticated: it has ended.
        """
        found = await store.get_session(
            session, principal.tenant_id, principal.user_id, principal.session_id
        )
        if found is None or not found.is_live(datetime.now(UTC)):
            raise Unauthenticated

    async def _rotate(
        self,
        session: AsyncSession,
        call: PublicCall,
        owner: tuple[TenantId, UserId, SessionId],
        token_hash: str,
    ) -> Grant | None:
        opened = await store.get_session(session, *owner, lock=True)
        now = datetime.now(UTC)
        if opened is None or not opened.is_live(now):
            return None
        token = await store.get_refresh_token(session, opened, token_hash)
        user = await store.get_user(session, opened.tenant_id, opened.user_id)
        if token is None or user is None:
            return None
        if token.used_at is not None:
            await self._end(session, opened, now)
            await self._record(session, call, opened, "sessions.refresh", TrailOutcome.REFUSED)
            _log_of(call, opened).warning("refresh token used again; session ended")
            return None
        await store.use_refresh_token(session, opened, token_hash, now)
        refresh_token = await self._add_refresh_token(session, opened, now)
        await self._record(session, call, opened, "sessions.refresh", TrailOutcome.OK)
        _log_of(call, opened).info("refreshed")
        return self._grant(user, opened, refresh_token, now)

    async def _end(self, session: AsyncSession, ended: Session, now: datetime) -> None:
        refused_until = revocation_end(ended, now, self._access_token_life)
        await store.end_session(session, ended, now=now, refused_until=refused_until)

    async def _add_refresh_token(self, session: AsyncSession, owner: Session, now: datetime) -> str:
        token = new_refresh_token()
        token_hash = refresh_token_hash(token)
        assert token_hash is not None  # noqa: S101 -- just made
        await store.add_refresh_token(session, owner, token_hash, now)
        return token

    def _grant(self, user: User, opened: Session, refresh_token: str, now: datetime) -> Grant:
        expires_at = access_token_end(opened, now, self._access_token_life)
        access_token = self._issuer.access_token(
            user.tenant_id,
            user.user_id,
            opened.session_id,
            user.scopes,
            now=now,
            expires_at=expires_at,
        )
        return Grant(
            access_token=access_token,
            refresh_token=refresh_token,
            expires_in_seconds=int((expires_at - now).total_seconds()),
            tenant_id=user.tenant_id,
            user_id=user.user_id,
        )

    async def _record(
        self,
        session: AsyncSession,
        call: PublicCall,
        opened: Session,
        action: str,
        outcome: TrailOutcome,
    ) -> None:
        await self._trail.record_principal(
            session,
            tenant_id=opened.tenant_id,
            user_id=opened.user_id,
            request_id=call.request_id,
            action=action,
            outcome=outcome,
            trace_id=call.trace.trace_id,
        )

    async def _record_refusal(self, call: PublicCall, tenant_id: TenantId | None) -> None:
        if tenant_id is None:
            return  # there is nobody whose trail it would be
        async with self._database.transaction(DataScope.system(tenant_id)) as session:
            await self._trail.record_principal(
                session,
                tenant_id=tenant_id,
                user_id=None,
                request_id=call.request_id,
                action="sessions.log_in",
                outcome=TrailOutcome.REFUSED,
                trace_id=call.trace.trace_id,
            )


def _scope(opened: Session) -> DataScope:
    return DataScope.user(opened.tenant_id, opened.user_id)


def _log_of(call: PublicCall, opened: Session) -> BoundLogger:
    return call.log.bind(
        tenant_id=opened.tenant_id, user_id=opened.user_id, session_id=opened.session_id
    )
