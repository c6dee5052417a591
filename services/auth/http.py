"""Auth over HTTP: where operators make tenants, administrators users, and users log in and out."""

from __future__ import annotations

import hmac
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from pydantic import AfterValidator, BaseModel, Field
from starlette.requests import Request

from contracts.context import Scope, UserId
from contracts.context.carriers.edge import read_bearer
from services.auth.accounts import Accounts
from services.auth.domain import Grant
from services.auth.sessions import Sessions
from services.auth.signing import TokenIssuer
from services.runtime.boundaries import Boundaries, Pairs
from services.runtime.calls import EdgeCall, PublicCall
from services.runtime.errors import Unauthenticated
from services.runtime.http import BoundaryRoute, HttpBoundary, edge, public
from services.runtime.telemetry import Operation
from services.runtime.text import Name, RequestBody

_MINIMUM_PASSWORD_BYTES = 8
_MAXIMUM_PASSWORD_BYTES = 128

_operator_secret = HTTPBearer(
    scheme_name="OperatorSecret", auto_error=False, description="The operator's secret."
)


def _check_password(value: str) -> str:
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ValueError("expected text without surrogates") from None
    if size > _MAXIMUM_PASSWORD_BYTES:
        raise ValueError(f"expected at most {_MAXIMUM_PASSWORD_BYTES} bytes")
    return value


Password = Annotated[
    str, Field(max_length=_MAXIMUM_PASSWORD_BYTES), AfterValidator(_check_password)
]
NewPassword = Annotated[Password, Field(min_length=_MINIMUM_PASSWORD_BYTES)]


class NewAdministrator(RequestBody):
    """A tenant's first user."""

    login_name: Name
    password: NewPassword


class NewTenant(RequestBody):
    """A tenant to make."""

    name: Name
    administrator: NewAdministrator


class NewUser(RequestBody):
    """A user to make in the caller's tenant."""

    login_name: Name
    password: NewPassword
    administrator: bool = False


class LogIn(RequestBody):
    """What a user types."""

    tenant: Name
    login_name: Name
    password: Password


class Refresh(RequestBody):
    """A refresh token to use up."""

    refresh_token: Annotated[str, Field(min_length=1, max_length=256)]


class CreatedTenant(BaseModel):
    """A tenant and its first administrator."""

    tenant_id: str
    user_id: str


class CreatedUser(BaseModel):
    """A user."""

    user_id: str


class Account(BaseModel):
    """The caller's own account."""

    tenant_id: str
    user_id: str
    login_name: str
    administrator: bool
    scopes: list[str]


class Tokens(BaseModel):
    """An access token, and a refresh token for the next pair (RFC 6749, section 5.1)."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 -- the kind of token
    expires_in: int
    refresh_token: str
    user_id: str
    tenant_id: str


class OperatorBoundary(HttpBoundary):
    """Only the operator may call, by a Bearer secret."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    async def admit(self, boundaries: Boundaries, pairs: Pairs, operation: Operation) -> PublicCall:
        """The operator's call.

        Raises:
            Unauthenticated, ContextError: it is not the operator's.
        """
        if not hmac.compare_digest(read_bearer(pairs).encode(), self._secret):
            raise Unauthenticated
        return boundaries.public(operation)

    async def __call__(
        self, request: Request, _documented: Annotated[object, Depends(_operator_secret)] = None
    ) -> Any:
        """See `HttpBoundary`."""
        return await super().__call__(request)


def make_operator_router(accounts: Accounts, operator_secret: str) -> APIRouter:
    """The operator's routes."""
    router = APIRouter(route_class=BoundaryRoute, tags=["operator"])
    operator = OperatorBoundary(operator_secret)

    async def create_tenant(
        body: NewTenant,
        call: PublicCall = Depends(operator),  # noqa: B008 -- it is local, no name for Annotated
    ) -> CreatedTenant:
        """Makes a tenant and its first administrator."""
        made = await accounts.create_tenant(
            call, body.name, body.administrator.login_name, body.administrator.password
        )
        return CreatedTenant(tenant_id=made.tenant_id, user_id=made.user_id)

    router.add_api_route("/operator/tenants", create_tenant, methods=["POST"], status_code=201)
    return router


def make_user_router(accounts: Accounts, sessions: Sessions) -> APIRouter:
    """The routes of users and their administrators."""
    router = APIRouter(route_class=BoundaryRoute, tags=["users"])

    @router.post("/users", status_code=201)
    async def create_user(
        call: Annotated[EdgeCall, edge(Scope.TENANT_USERS)], body: NewUser
    ) -> CreatedUser:
        """Makes a user of the caller's tenant; for its administrators."""
        made = await accounts.create_user(
            call, body.login_name, body.password, administrator=body.administrator
        )
        return CreatedUser(user_id=made.user_id)

    @router.get("/users/me")
    async def own_account(call: Annotated[EdgeCall, edge()]) -> Account:
        """The caller's own account."""
        user = await accounts.own_account(call)
        return Account(
            tenant_id=user.tenant_id,
            user_id=user.user_id,
            login_name=user.login_name,
            administrator=user.administrator,
            scopes=sorted(call.context.scopes),
        )

    @router.post("/users/{user_id}/revocations", status_code=204)
    async def revoke_user(
        call: Annotated[EdgeCall, edge(Scope.TENANT_USERS)], user_id: str
    ) -> Response:
        """Ends all sessions of a user of the caller's tenant; for its administrators."""
        await sessions.revoke_user(call, UserId(user_id))
        return Response(status_code=204)

    return router


def make_session_router(sessions: Sessions, issuer: TokenIssuer) -> APIRouter:
    """The routes of sessions, and the keys that their tokens are verified with."""
    router = APIRouter(route_class=BoundaryRoute, tags=["sessions"])

    @router.post("/login")
    async def log_in(
        call: Annotated[PublicCall, public()], body: LogIn, response: Response
    ) -> Tokens:
        """Opens a session. Who is unknown and who mistypes get the same answer."""
        return _tokens(
            await sessions.log_in(call, body.tenant, body.login_name, body.password), response
        )

    @router.post("/refresh")
    async def refresh(
        call: Annotated[PublicCall, public()], body: Refresh, response: Response
    ) -> Tokens:
        """New tokens for the session. A refresh token is good once."""
        return _tokens(await sessions.refresh(call, body.refresh_token), response)

    @router.post("/logout", status_code=204)
    async def log_out(call: Annotated[EdgeCall, edge()]) -> Response:
        """Ends the session; answered once that is committed."""
        await sessions.log_out(call)
        return Response(status_code=204)

    @router.get("/.well-known/jwks.json")
    async def keys(_call: Annotated[PublicCall, public()]) -> JSONResponse:
        """The public keys, as a JWK Set (RFC 7517)."""
        return JSONResponse(issuer.jwks, headers={"cache-control": "public, max-age=60"})

    return router


def _tokens(grant: Grant, response: Response) -> Tokens:
    response.headers["cache-control"] = "no-store"  # RFC 6749, section 5.1
    return Tokens(
        access_token=grant.access_token,
        expires_in=grant.expires_in_seconds,
        refresh_token=grant.refresh_token,
        user_id=grant.user_id,
        tenant_id=grant.tenant_id,
    )
