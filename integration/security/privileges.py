"""Who may do what, as a table: every route, method and frame, for every role.

The enumeration of the running services must equal this table: what is new fails the suite until
somebody has said here whom it serves.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Final

from contracts.context import Scope

OK: Final = "OK"
_UNKNOWN: Final = "UNAUTHENTICATED"
_DENIED: Final = "PERMISSION_DENIED"
_NOT_THERE: Final = "NOT_FOUND"


@unique
class Role(StrEnum):
    """Who asks. The objects asked for are the member's."""

    ANONYMOUS = "anonymous"
    MEMBER = "the member herself"
    NEIGHBOUR = "another member of her tenant"
    ADMINISTRATOR = "her tenant's administrator"
    STRANGER = "a member of another tenant"
    FOREIGN_ADMINISTRATOR = "another tenant's administrator"
    OPERATOR = "the operator"
    WORKLOAD = "a service as itself"


USERS: Final = (
    Role.MEMBER,
    Role.NEIGHBOUR,
    Role.ADMINISTRATOR,
    Role.STRANGER,
    Role.FOREIGN_ADMINISTRATOR,
)
OTHER_USERS: Final = USERS[1:]


@unique
class Kind(StrEnum):
    """What an operation is about, which decides whom it serves."""

    PUBLIC = "anybody's"
    NOBODYS = "declared by gRPC's own definition, and not offered"
    CREDENTIALS = "of whoever the body proves to be: here, of nobody"
    OWN = "the caller's own things"
    THREAD = "one thread"
    USAGE = "the sums of one thread: zero where there is nothing for the caller"
    TENANT = "the caller's tenant, for its administrators"
    MEMBERSHIP = "one user of the caller's tenant, for its administrators"
    OPERATOR = "all tenants"
    WORKLOAD = "between services"
    HOP_THREAD = "the thread of a hop's context"
    HOP_TENANT = "the tenant of a hop's context"


def _outcomes(others: str, **served: str) -> Mapping[Role, str]:
    return MappingProxyType({role: served.get(role.name.lower(), others) for role in Role})


_nobody_known: Final = {"anonymous": _UNKNOWN, "operator": _UNKNOWN, "workload": _UNKNOWN}
_administrators: Final = {"administrator": OK, "foreign_administrator": OK}

OUTCOMES: Final[Mapping[Kind, Mapping[Role, str]]] = MappingProxyType(
    {
        Kind.PUBLIC: _outcomes(OK),
        Kind.NOBODYS: _outcomes("UNIMPLEMENTED"),
        Kind.CREDENTIALS: _outcomes(_UNKNOWN),
        Kind.OWN: _outcomes(OK, **_nobody_known),
        Kind.THREAD: _outcomes(_NOT_THERE, **_nobody_known, member=OK),
        Kind.USAGE: _outcomes(OK, **_nobody_known),
        Kind.TENANT: _outcomes(_DENIED, **_nobody_known, **_administrators),
        Kind.MEMBERSHIP: _outcomes(
            _DENIED, **_nobody_known, administrator=OK, foreign_administrator=_NOT_THERE
        ),
        Kind.OPERATOR: _outcomes(_UNKNOWN, operator=OK),
        Kind.WORKLOAD: _outcomes(_UNKNOWN, workload=OK),
        Kind.HOP_THREAD: _outcomes(_DENIED, **_nobody_known, member=OK),
        Kind.HOP_TENANT: _outcomes(_DENIED, **_nobody_known, **_administrators),
    }
)
"""What each role is answered: OK, or the code of the refusal."""

_BACKEND: Final = "backend /watertight.backend.v1.BackendService"
_ANALYTICS: Final = "analytics /watertight.analytics.v1.AnalyticsService"
_AUTH: Final = "auth /watertight.auth.v1.AuthService"
_SERVICES: Final = ("analytics", "auth", "backend")
# Health and reflection tell nothing of anybody; who may reach them is the network's affair.
_STANDARD: Final = (
    "GET /health",
    "GET /health/live",
    "GET /metrics",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)

_NONE: Final[frozenset[Scope]] = frozenset()
_READ: Final = frozenset({Scope.THREADS_READ})
_WRITE: Final = frozenset({Scope.THREADS_WRITE})
_USAGE: Final = frozenset({Scope.USAGE_READ})
_TOTALS: Final = frozenset({Scope.TENANT_USAGE})
_MEMBERS: Final = frozenset({Scope.TENANT_USERS})

Declared = tuple[Kind, frozenset[Scope]]

OPERATIONS: Final[Mapping[str, Declared]] = MappingProxyType(
    {
        **{
            f"{service} {name}": (Kind.PUBLIC, _NONE) for service in _SERVICES for name in _STANDARD
        },
        **{
            f"{service} /grpc.health.v1.Health/List": (Kind.NOBODYS, _NONE) for service in _SERVICES
        },
        "auth GET /.well-known/jwks.json": (Kind.PUBLIC, _NONE),
        "auth GET /users/me": (Kind.OWN, _NONE),
        "auth POST /login": (Kind.CREDENTIALS, _NONE),
        "auth POST /logout": (Kind.OWN, _NONE),
        "auth POST /operator/tenants": (Kind.OPERATOR, _NONE),
        "auth POST /refresh": (Kind.CREDENTIALS, _NONE),
        "auth POST /users": (Kind.TENANT, _MEMBERS),
        "auth POST /users/{user_id}/revocations": (Kind.MEMBERSHIP, _MEMBERS),
        f"{_AUTH}/ExchangeToken": (Kind.WORKLOAD, _NONE),
        f"{_AUTH}/GetKeys": (Kind.WORKLOAD, _NONE),
        f"{_AUTH}/ListRevocations": (Kind.WORKLOAD, _NONE),
        "analytics GET /usage/threads/{thread_id}": (Kind.USAGE, _USAGE),
        "analytics GET /usage/totals": (Kind.TENANT, _TOTALS),
        f"{_ANALYTICS}/GetTenantTotals": (Kind.HOP_TENANT, _NONE),
        f"{_ANALYTICS}/GetThreadUsage": (Kind.HOP_THREAD, _NONE),
        f"{_ANALYTICS}/RecordUsage": (Kind.HOP_THREAD, _NONE),
        "backend GET /threads": (Kind.OWN, _READ),
        "backend POST /threads": (Kind.OWN, _WRITE),
        "backend GET /threads/{thread_id}/events": (Kind.THREAD, _READ),
        "backend GET /threads/{thread_id}/messages": (Kind.THREAD, _READ),
        "backend POST /threads/{thread_id}/messages": (Kind.THREAD, _WRITE),
        "backend POST /threads/{thread_id}/session": (Kind.THREAD, _WRITE),
        "backend GET /threads/{thread_id}/usage": (Kind.THREAD, _USAGE),
        "backend POST /websocket-tickets": (Kind.OWN, _READ),
        f"{_BACKEND}/CreateThread": (Kind.OWN, _WRITE),
        f"{_BACKEND}/GetThreadUsage": (Kind.THREAD, _USAGE),
        f"{_BACKEND}/ListEvents": (Kind.THREAD, _READ),
        f"{_BACKEND}/ListMessages": (Kind.THREAD, _READ),
        f"{_BACKEND}/ListThreads": (Kind.OWN, _READ),
        f"{_BACKEND}/OpenSession": (Kind.THREAD, _WRITE),
        f"{_BACKEND}/SendMessage": (Kind.THREAD, _WRITE),
        "backend frame agent_request": (Kind.THREAD, _READ | _WRITE),
        "backend frame authenticate": (Kind.OWN, _NONE),
        "backend frame ping": (Kind.OWN, _NONE),
        "backend frame subscribe": (Kind.THREAD, _READ),
        "backend frame unsubscribe": (Kind.THREAD, _NONE),
    }
)
"""Every operation of every service: what it is about, and the scopes that its edge asks for."""
