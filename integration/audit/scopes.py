"""Whose something is: the tree of tenant, user and thread, and what may be seen from where."""

from collections.abc import Iterable
from enum import IntEnum, StrEnum
from typing import NamedTuple

from integration.audit.vocabulary import ObservationClass


class Level(IntEnum):
    """How narrow a scope is."""

    ROOT = 0
    TENANT = 1
    USER = 2
    THREAD = 3


class Scope(NamedTuple):
    """An owner, by the labels that the audit itself gives (never by the system's identifiers).

    Labels do not depend on what the system issues, so two runs of one seed have the same scopes.
    `Scope()` is the root: nobody's, around everybody's.
    """

    tenant: str = ""
    user: str = ""
    thread: str = ""

    @property
    def level(self) -> Level:
        """The level of the narrowest label that is set."""
        if self.thread:
            return Level.THREAD
        if self.user:
            return Level.USER
        return Level.TENANT if self.tenant else Level.ROOT

    def contains(self, other: "Scope") -> bool:
        """Tell whether `other` is this scope or lies inside it."""
        level = self.level
        return self[:level] == other[:level]

    def at(self, level: Level) -> "Scope":
        """Give the scope around this one at `level`, or itself where it is no narrower."""
        return Scope(*self[:level])

    def __str__(self) -> str:
        """Write it as a path, `tenant-0/user-1/thread-0`, or `nobody` for the root."""
        return "/".join(label for label in self if label) or "nobody"


class Reach(StrEnum):
    """How far an allowance goes from its scope."""

    WITHIN = "within"
    """The scope and everything inside it."""
    AT = "at"
    """The scope itself and nothing inside it (a tenant's total names none of its users)."""


class Allowance(NamedTuple):
    """Leave to see one class of what belongs to a scope.

    What belongs to the scopes *around* it may be seen too: whoever may see a thread may see the
    identifiers of its user and of its tenant.
    """

    observed: ObservationClass
    scope: Scope
    reach: Reach = Reach.WITHIN

    def covers(self, owner: Scope) -> bool:
        """Tell whether something of `owner` may be seen under this allowance."""
        if owner.contains(self.scope):
            return True
        return self.reach is Reach.WITHIN and self.scope.contains(owner)


class AllowancePlan(NamedTuple):
    """An allowance relative to the scope that an operation addresses.

    `level` is that of the allowed scope: with `Level.TENANT`, the tenant around what is addressed.
    A level narrower than the addressed scope stands for the addressed scope.
    """

    observed: ObservationClass
    level: Level = Level.THREAD
    reach: Reach = Reach.WITHIN

    def around(self, scope: Scope) -> Allowance:
        """Give the allowance for an operation that addresses `scope`."""
        return Allowance(self.observed, scope.at(self.level), self.reach)


EVERYTHING: tuple[AllowancePlan, ...] = tuple(AllowancePlan(each) for each in ObservationClass)
"""All classes within the addressed scope."""


class Permit:
    """A set of allowances that remembers its decisions, since few owners make most canaries."""

    def __init__(self, allowances: Iterable[Allowance]) -> None:
        """Hold the allowances; one of them is enough to see something."""
        self.allowances = tuple(allowances)
        self._decided: dict[tuple[ObservationClass, Scope], bool] = {}

    def allows(self, observed: ObservationClass, owner: Scope) -> bool:
        """Tell whether this class of something that belongs to `owner` may be seen."""
        decided = self._decided.get((observed, owner))
        if decided is None:
            decided = any(
                allowance.observed is observed and allowance.covers(owner)
                for allowance in self.allowances
            )
            self._decided[(observed, owner)] = decided
        return decided
