"""What an adapter declares of its system: plain values, kept in the history's header.

A history can therefore be checked again where neither the system nor its adapter is at hand.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from integration.audit.scopes import EVERYTHING, AllowancePlan, Level
from integration.audit.vocabulary import Channel, Expectation


class OperationKind(StrEnum):
    """What an operation does, as far as the oracles care."""

    CREATE = "create"
    """Makes the thread that it addresses; sent once for each thread, before anything else."""
    WRITE = "write"
    READ = "read"
    AGGREGATE = "aggregate"
    """Answers with counts or sums (`Outcome.readings`)."""
    REVOKE = "revoke"
    """Ends the caller's own session; acknowledged means that it counts from now on."""


MEMBER = "member"
ADMINISTRATOR = "administrator"


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    """A channel that the adapter observes, and how much it must see for a verdict."""

    channel: Channel
    expectation: Expectation | None = None
    """`None` stands for what the channel itself expects."""
    minimum_observations: int = 1
    minimum_canaries: int = 1
    """Own canaries that must be seen; without meaning for a content-free channel."""

    @property
    def expected(self) -> Expectation:
        """What is expected here, declared or by the channel's nature."""
        return self.expectation or self.channel.expectation


@dataclass(frozen=True, slots=True)
class OperationPlan:
    """One kind of request that the workload may send."""

    name: str
    channel: Channel
    """Where its answer travels; single observations may name another, such as `errors`."""
    kind: OperationKind
    level: Level
    """What it addresses: one thread, the user's own things, or the tenant."""
    weight: int = 1
    """Its share of the workload, relative to the others'."""
    role: str = MEMBER
    """Who sends it: members, or the tenant's administrator."""
    allowed: tuple[AllowancePlan, ...] = EVERYTHING
    """Which classes of whose things may come back, relative to the addressed scope."""
    probed: bool = True
    """Whether others' objects, and absent ones, are asked for by it too."""
    delivers_to: tuple[str, ...] = ()
    """The streams in which an acknowledged write must be seen by its owner."""
    reads: str = ""
    """The stream whose entries its observations are, one each, in order; sent at the end too."""
    contributes: Mapping[str, int] = field(default_factory=dict)
    """By how much it raises a measure, for its thread, user and tenant."""


@dataclass(frozen=True, slots=True)
class SubscriptionPlan:
    """One kind of standing connection that brings events."""

    name: str
    channel: Channel
    level: Level
    stream: str = ""
    """The stream that it carries; empty where no delivery is promised."""
    clients: int = 2
    """How many connections each scope holds."""
    gapless: bool = False
    """Whether sequence numbers on one connection grow by exactly one."""
    allowed: tuple[AllowancePlan, ...] = EVERYTHING
    probed: bool = True
    """Whether strangers try to subscribe too."""


@dataclass(frozen=True, slots=True)
class MeasurePlan:
    """A quantity that aggregate operations report."""

    name: str
    unit: str
    lag_seconds: float = 0.0
    """How long after its acknowledgement a contribution may still be missing."""


@dataclass(frozen=True, slots=True)
class SystemDescription:
    """Everything that the engine must know of a system before it drives it."""

    name: str
    channels: tuple[ChannelPlan, ...]
    operations: tuple[OperationPlan, ...]
    subscriptions: tuple[SubscriptionPlan, ...] = ()
    measures: tuple[MeasurePlan, ...] = ()
    revocation_bound_seconds: float = 5.0
    """How long after an acknowledged revocation its session may still be served, and connected."""
    settle_seconds: float = 10.0
    """How long acknowledged writes may take to reach their subscribers."""
    operation_limit_seconds: float = 10.0
    """After this long an operation's outcome is unknown."""
    volatile: tuple[str, ...] = ()
    """Regular expressions of text that may differ between the answers of twin probes."""
    grants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What each role may do at most, in the system's own words for it."""
    configuration: Mapping[str, str] = field(default_factory=dict)
    """Versions and settings, for people who read the report."""

    def operation(self, name: str) -> OperationPlan:
        """Give the operation of that name; `KeyError` when there is none."""
        for plan in self.operations:
            if plan.name == name:
                return plan
        raise KeyError(name)

    def subscription(self, name: str) -> SubscriptionPlan:
        """Give the subscription of that name; `KeyError` when there is none."""
        for plan in self.subscriptions:
            if plan.name == name:
                return plan
        raise KeyError(name)
