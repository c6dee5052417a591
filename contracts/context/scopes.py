"""What a context may do (OAuth scopes), and for whose data a datastore works."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum, unique

from contracts.context.errors import ContextMalformed, ContextMissing, quoted
from contracts.context.identifiers import TenantId, ThreadId, UserId, optional, require


@unique
class Scope(StrEnum):
    """The permissions that exist. An unknown one is refused, not ignored."""

    THREADS_READ = "threads:read"
    THREADS_WRITE = "threads:write"
    USAGE_READ = "usage:read"
    USAGE_WRITE = "usage:write"
    TENANT_USAGE = "tenant:usage"
    TENANT_USERS = "tenant:users"


MEMBER_SCOPES = frozenset(
    {Scope.THREADS_READ, Scope.THREADS_WRITE, Scope.USAGE_READ, Scope.USAGE_WRITE}
)
ADMINISTRATOR_SCOPES = MEMBER_SCOPES | {Scope.TENANT_USAGE, Scope.TENANT_USERS}


def parse_scopes(values: Iterable[str]) -> frozenset[Scope]:
    """The scopes that these words name.

    Raises:
        ContextMalformed: a word is unknown or appears twice.
    """
    words = list(values)
    try:
        scopes = frozenset(Scope(word) for word in words)
    except ValueError as error:
        known = ", ".join(sorted(Scope))
        raise ContextMalformed(
            "scopes", f"expected scopes of {known}; got {quoted(words)}"
        ) from error
    if len(scopes) != len(words):
        raise ContextMalformed("scopes", f"expected each scope once; got {quoted(words)}")
    return scopes


@unique
class ScopeKind(StrEnum):
    """How a `DataScope` is compared. Row-level security policies name the kinds that they admit."""

    LOGIN = "login"
    USER = "user"
    THREAD = "thread"
    TENANT = "tenant"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class DataScope:
    """For whose data a transaction, a key or a subscription works.

    Build one with a class method, each of which asks for exactly the identifiers of its kind: there
    is no way to build a scope that means everybody.
    """

    kind: ScopeKind
    tenant_id: TenantId | None = None
    user_id: UserId | None = None
    thread_id: ThreadId | None = None
    lookup: str | None = None

    def __post_init__(self) -> None:
        optional(TenantId, self.tenant_id)
        optional(UserId, self.user_id)
        optional(ThreadId, self.thread_id)
        present = tuple(
            name
            for name in ("tenant_id", "user_id", "thread_id", "lookup")
            if getattr(self, name) is not None
        )
        if present not in _FIELDS_OF_KIND[self.kind]:
            raise ContextMalformed(
                "scope", f"a scope of kind {self.kind} cannot be made of {present or 'nothing'}"
            )
        if self.lookup is not None and not self.lookup:
            raise ContextMissing("lookup", "a log-in look-up needs a value")

    @classmethod
    def login(cls, lookup: str, tenant_id: TenantId | None = None) -> DataScope:
        """For finding exactly one row by a value that only its owner knows or types."""
        return cls(ScopeKind.LOGIN, tenant_id, lookup=lookup)

    @classmethod
    def user(cls, tenant_id: TenantId, user_id: UserId) -> DataScope:
        """Everything of one user."""
        return cls(ScopeKind.USER, require(TenantId, tenant_id), require(UserId, user_id))

    @classmethod
    def thread(cls, tenant_id: TenantId, user_id: UserId, thread_id: ThreadId) -> DataScope:
        """One conversation of one user."""
        return cls(
            ScopeKind.THREAD,
            require(TenantId, tenant_id),
            require(UserId, user_id),
            require(ThreadId, thread_id),
        )

    @classmethod
    def tenant(cls, tenant_id: TenantId) -> DataScope:
        """The usage rows of one tenant, for its administrator's totals."""
        return cls(ScopeKind.TENANT, require(TenantId, tenant_id))

    @classmethod
    def system(cls, tenant_id: TenantId) -> DataScope:
        """The service's own work for one tenant, such as making its first user."""
        return cls(ScopeKind.SYSTEM, require(TenantId, tenant_id))

    def settings(self) -> dict[str, str]:
        """The Postgres settings that bind this scope: all five, so that none keeps an older value.

        An absent identifier is `''`, which policies match with nothing.
        """
        return {
            "app.scope_kind": str(self.kind),
            "app.tenant_id": self.tenant_id or "",
            "app.user_id": self.user_id or "",
            "app.thread_id": self.thread_id or "",
            "app.lookup": self.lookup or "",
        }


_FIELDS_OF_KIND: dict[ScopeKind, tuple[tuple[str, ...], ...]] = {
    ScopeKind.LOGIN: (("lookup",), ("tenant_id", "lookup")),
    ScopeKind.USER: (("tenant_id", "user_id"),),
    ScopeKind.THREAD: (("tenant_id", "user_id", "thread_id"),),
    ScopeKind.TENANT: (("tenant_id",),),
    ScopeKind.SYSTEM: (("tenant_id",),),
}
