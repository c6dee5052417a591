"""Tenants and users: who may be made by whom."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from contracts.context import DataScope, TenantId, UserId
from services.auth import store
from services.auth.domain import User
from services.auth.passwords import Passwords
from services.runtime.calls import EdgeCall, PublicCall, new_id
from services.runtime.errors import AlreadyExists, NotFound
from services.runtime.postgres import Database
from services.runtime.postgres_errors import ConstraintViolated
from services.runtime.trail import Trail, TrailOutcome


class Accounts:
    """Makes tenants and users, and shows a user her own account."""

    def __init__(self, database: Database, passwords: Passwords) -> None:
        self._database = database
        self._passwords = passwords
        self._trail = Trail()

    async def create_tenant(
        self, call: PublicCall, name: str, login_name: str, password: str
    ) -> User:
        """A tenant and its first administrator; for the operator alone.

        Raises:
            AlreadyExists: the tenant's name is taken.
        """
        administrator = await self._new_user(
            TenantId(new_id()), login_name, password, administrator=True
        )
        tenant_id, now = administrator.tenant_id, datetime.now(UTC)
        try:
            async with self._database.transaction(DataScope.system(tenant_id)) as session:
                await store.add_tenant(session, tenant_id, name, now)
                await store.add_user(session, administrator, now)
                await self._trail.record_principal(
                    session,
                    tenant_id=tenant_id,
                    user_id=None,
                    request_id=call.request_id,
                    action="tenants.create",
                    outcome=TrailOutcome.OK,
                    trace_id=call.trace.trace_id,
                )
        except ConstraintViolated as error:
            raise AlreadyExists from error
        call.log.info("tenant created", tenant_id=tenant_id, created_user_id=administrator.user_id)
        return administrator

    async def create_user(
        self, call: EdgeCall, login_name: str, password: str, *, administrator: bool
    ) -> User:
        """A user of the caller's own tenant; for its administrators.

        Raises:
            AlreadyExists: the tenant has the log-in name already.
        """
        action = "users.create"
        tenant_id = call.context.tenant_id
        user = await self._new_user(tenant_id, login_name, password, administrator=administrator)
        try:
            async with self._database.transaction(DataScope.system(tenant_id)) as session:
                await store.add_user(session, user, datetime.now(UTC))
                await self._record(session, call, action, TrailOutcome.OK)
        except ConstraintViolated as error:
            # The first transaction is gone with all that it wrote.
            async with self._database.transaction(call.context.user_scope) as session:
                await self._record(session, call, action, TrailOutcome.REFUSED)
            raise AlreadyExists from error
        call.log.info("user created", created_user_id=user.user_id)
        return user

    async def own_account(self, call: EdgeCall) -> User:
        """The caller's own account.

        Raises:
            NotFound: it has been removed.
        """
        context = call.context
        async with self._database.transaction(context.user_scope) as session:
            user = await store.get_user(session, context.tenant_id, context.user_id)
        if user is None:
            raise NotFound
        return user

    async def _record(
        self, session: AsyncSession, call: EdgeCall, action: str, outcome: TrailOutcome
    ) -> None:
        await self._trail.record(
            session, call.context, action=action, outcome=outcome, trace_id=call.trace.trace_id
        )

    async def _new_user(
        self, tenant_id: TenantId, login_name: str, password: str, *, administrator: bool
    ) -> User:
        return User(
            tenant_id=tenant_id,
            user_id=UserId(new_id()),
            login_name=login_name,
            administrator=administrator,
            password_hash=await self._passwords.hash(password),
        )
