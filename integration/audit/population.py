"""Who takes part: tenants, users, threads and sessions, named so that they collide on purpose.

Every tenant has users of the same log-in names, and every user has threads of the same labels, so
whatever is keyed by less than its full scope meets somebody else's.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from integration.audit.errors import PlanError
from integration.audit.scopes import Scope
from integration.audit.system import ADMINISTRATOR, MEMBER, OperationPlan

MAIN_SESSION = "main"
SECOND_SESSION = "second"
"""Logged out late in the audit, while the main one goes on."""


@dataclass(frozen=True, slots=True)
class AuditPlan:
    """How much is done, and from which seed."""

    tenants: int = 2
    users: int = 2
    """Members of each tenant."""
    threads: int = 2
    """Threads of each member."""
    operations: int = 400
    """Operations of the workload; setting up and final reads come on top."""
    seed: int = 1
    workers: int = 8
    """Operations in flight at a time."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run, with the field's name."""
        for field, value, low, high in (
            ("tenants", self.tenants, 1, 1_000),
            ("users", self.users, 1, 1_000),
            ("threads", self.threads, 1, 1_000),
            ("operations", self.operations, 1, 100_000_000),
            ("seed", self.seed, 0, 2**63 - 1),
            ("workers", self.workers, 1, 1_000),
        ):
            if not low <= value <= high:
                raise PlanError(field, value, f"from {low} to {high}")
        threads = self.tenants * self.users * self.threads
        if threads > _THREADS_LIMIT:
            raise PlanError("tenants x users x threads", threads, f"at most {_THREADS_LIMIT}")


_THREADS_LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class User:
    """A person who can log in."""

    scope: Scope
    login: str
    """Unique within the tenant only: every tenant has the same ones."""
    role: str = MEMBER


@dataclass(frozen=True, slots=True)
class Principal:
    """One session of a user: who acts."""

    name: str
    scope: Scope
    """The user."""
    authority: Scope
    """How far the user's right to see goes: the user, or an administrator's tenant."""
    login: str
    role: str = MEMBER
    session: str = MAIN_SESSION


@dataclass(frozen=True, slots=True)
class Population:
    """Everybody who takes part."""

    tenants: tuple[Scope, ...]
    users: tuple[User, ...]
    threads: tuple[Scope, ...]
    principals: tuple[Principal, ...]

    def members(self) -> list[Principal]:
        """Give the main sessions of all members."""
        return [p for p in self.principals if p.role == MEMBER and p.session == MAIN_SESSION]

    def administrators(self) -> list[Principal]:
        """Give the administrators' sessions."""
        return [p for p in self.principals if p.role == ADMINISTRATOR]

    def second_sessions(self) -> list[Principal]:
        """Give the sessions that are logged out late."""
        return [p for p in self.principals if p.session == SECOND_SESSION]

    def scopes(self) -> list[Scope]:
        """Give every scope, outer ones first."""
        return [Scope(), *self.tenants, *(user.scope for user in self.users), *self.threads]


def populate(plan: AuditPlan, operations: Iterable[OperationPlan]) -> Population:
    """Make everybody that a plan and the operations' roles ask for."""
    with_administrator = any(operation.role == ADMINISTRATOR for operation in operations)
    tenants = tuple(Scope(f"tenant-{number}") for number in range(plan.tenants))
    users: list[User] = []
    threads: list[Scope] = []
    for tenant in tenants:
        for number in range(plan.users):
            scope = Scope(tenant.tenant, f"user-{number}")
            users.append(User(scope, scope.user))
            threads.extend(
                Scope(tenant.tenant, scope.user, f"thread-{thread}")
                for thread in range(plan.threads)
            )
        if with_administrator:
            users.append(
                User(Scope(tenant.tenant, ADMINISTRATOR), ADMINISTRATOR, ADMINISTRATOR),
            )
    principals = [principal for user in users for principal in _sessions(user)]
    return Population(tenants, tuple(users), tuple(threads), tuple(principals))


def _sessions(user: User) -> list[Principal]:
    administrates = user.role == ADMINISTRATOR
    sessions = (MAIN_SESSION,) if administrates else (MAIN_SESSION, SECOND_SESSION)
    authority = Scope(user.scope.tenant) if administrates else user.scope
    return [
        Principal(f"{user.scope}#{session}", user.scope, authority, user.login, user.role, session)
        for session in sessions
    ]
