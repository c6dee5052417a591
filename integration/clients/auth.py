"""Auth's HTTP interface: tenants, users, log-in and log-out."""

from __future__ import annotations

from contracts.context import UserId
from integration.clients.connections import HttpClient
from integration.clients.results import CreatedTenant, CreatedUser, Session


class AuthClient(HttpClient):
    """A client of auth. Every method takes the `traceparent` of its operation.

    Every method may raise `Refused`, `Unexpected` and `Unanswered`.
    """

    async def create_tenant(
        self,
        operator_secret: str,
        name: str,
        *,
        login_name: str,
        password: str,
        traceparent: str | None = None,
    ) -> CreatedTenant:
        """Makes a tenant with its first user, an administrator. Only the operator may."""
        body = {"name": name, "administrator": {"login_name": login_name, "password": password}}
        return CreatedTenant.from_json(
            await self._connections.request(
                "POST",
                "/operator/tenants",
                token=operator_secret,
                body=body,
                traceparent=traceparent,
            )
        )

    async def create_user(
        self,
        token: str,
        *,
        login_name: str,
        password: str,
        administrator: bool = False,
        traceparent: str | None = None,
    ) -> CreatedUser:
        """Makes a user in the tenant of the administrator whose token it is."""
        body = {"login_name": login_name, "password": password, "administrator": administrator}
        return CreatedUser.from_json(
            await self._connections.request(
                "POST", "/users", token=token, body=body, traceparent=traceparent
            )
        )

    async def log_in(
        self, tenant: str, login_name: str, password: str, *, traceparent: str | None = None
    ) -> Session:
        """Opens a session."""
        body = {"tenant": tenant, "login_name": login_name, "password": password}
        return Session.from_json(
            await self._connections.request("POST", "/login", body=body, traceparent=traceparent)
        )

    async def refresh(self, refresh_token: str, *, traceparent: str | None = None) -> Session:
        """Continues a session; the refresh token is spent, its use again ends the session."""
        return Session.from_json(
            await self._connections.request(
                "POST", "/refresh", body={"refresh_token": refresh_token}, traceparent=traceparent
            )
        )

    async def log_out(self, token: str, *, traceparent: str | None = None) -> None:
        """Ends the token's session; the answer comes when that is committed."""
        await self._connections.request("POST", "/logout", token=token, traceparent=traceparent)

    async def revoke_user(
        self, token: str, user_id: UserId, *, traceparent: str | None = None
    ) -> None:
        """Ends every session of a user of the administrator's own tenant."""
        await self._connections.request(
            "POST", f"/users/{user_id}/revocations", token=token, traceparent=traceparent
        )
