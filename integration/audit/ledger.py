"""What a history has told so far: scopes, principals, identifiers, operations, connections.

Every oracle reads it, none writes it. It grows with operations, never with observations.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from integration.audit.adapter import Observation
from integration.audit.canaries import CanaryMint
from integration.audit.identifiers import Identifier, IdentifierIndex
from integration.audit.population import AuditPlan, Principal
from integration.audit.records import (
    Completed,
    Header,
    IdentifierIssued,
    Invoked,
    Observed,
    PrincipalDeclared,
    Record,
    ScopeDeclared,
    Subscribed,
)
from integration.audit.scopes import EVERYTHING, Allowance, AllowancePlan, Permit, Scope
from integration.audit.system import OperationPlan, SubscriptionPlan, SystemDescription

ATTRIBUTES = ("tenant", "user", "thread", "run", "request")
"""Names of an attribution's identifiers, widest first; `trace` stands beside them."""


class OperationEntry(NamedTuple):
    """An operation that was sent."""

    number: int
    plan: OperationPlan
    principal: Principal
    scope: Scope
    time: int
    canaries: tuple[str, ...]
    mentions: tuple[str, ...]
    absent: bool
    twin: int | None
    final: bool
    trace: str

    @property
    def own(self) -> bool:
        """Whether it asked for what its principal may have."""
        return not self.absent and self.principal.authority.contains(self.scope)


class SubscriptionEntry(NamedTuple):
    """A standing connection that was acknowledged."""

    number: int
    plan: SubscriptionPlan
    principal: Principal
    scope: Scope
    time: int

    @property
    def own(self) -> bool:
        """Whether it listens to what its principal may hear."""
        return self.principal.authority.contains(self.scope)


class Sighting(NamedTuple):
    """An observation, with whose view it is and what may appear in it."""

    observation: Observation
    text: str
    scope: Scope
    permit: Permit
    time: int
    mentions: tuple[str, ...]
    operation: OperationEntry | None
    """The operation in whose answer it came."""
    subscription: SubscriptionEntry | None
    cause: OperationEntry | None
    """The operation whose trace it carries, or in whose answer it came."""


class Ledger:
    """Everything known at one point of a history."""

    def __init__(self, header: Header) -> None:
        """Begin where a history begins."""
        self.description: SystemDescription = header.description
        self.plan: AuditPlan = header.plan
        self.mint = CanaryMint(header.plan.seed)
        self.identifiers = IdentifierIndex()
        self.scopes: list[Scope] = []
        self.operations: dict[int, OperationEntry] = {}
        self.subscriptions: dict[int, SubscriptionEntry] = {}
        self._principals: dict[str, Principal] = {}
        self._traces: dict[str, int] = {}
        self._plans = {plan.name: plan for plan in header.description.operations}
        self._permits: dict[object, Permit] = {}

    def learn(self, record: Record) -> None:
        """Take in what a record tells, before any oracle sees it."""
        if isinstance(record, Invoked):
            self._operation(record)
        elif isinstance(record, IdentifierIssued):
            self.identifiers.add(record.identifier)
        elif isinstance(record, Subscribed):
            self.subscriptions[record.number] = SubscriptionEntry(
                record.number,
                self.description.subscription(record.name),
                self._principals[record.principal],
                record.scope,
                record.time,
            )
        elif isinstance(record, ScopeDeclared):
            self.scopes.append(record.scope)
        elif isinstance(record, PrincipalDeclared):
            self._principals[record.principal.name] = record.principal

    def _operation(self, record: Invoked) -> None:
        self.operations[record.number] = OperationEntry(
            record.number,
            self._plans[record.name],
            self._principals[record.principal],
            record.scope,
            record.time,
            record.canaries,
            record.mentions,
            record.absent,
            record.twin,
            record.final,
            record.trace,
        )
        self._traces[record.trace] = record.number

    def answered(self, completed: Completed) -> Iterator[Sighting]:
        """Give what an operation's answer showed."""
        operation = self.operations[completed.number]
        mentions = operation.mentions + completed.mentions
        base = operation.scope if operation.own else operation.principal.scope
        for observation in completed.observations:
            scope = base if observation.scope is None else observation.scope
            yield Sighting(
                observation,
                str(observation.data),
                scope,
                self._permit(observation, scope, operation.plan.allowed),
                completed.time,
                mentions,
                operation,
                None,
                operation,
            )

    def seen(self, observed: Observed) -> Sighting:
        """Give what was seen outside any answer: on a connection, or at rest."""
        observation = observed.observation
        subscription = None
        if observed.subscription is not None:
            subscription = self.subscriptions[observed.subscription]
        attribution = observation.attribution or {}
        number = self._traces.get(attribution.get("trace", ""))
        cause = None if number is None else self.operations[number]
        mentions = () if cause is None else cause.mentions
        allowed = EVERYTHING
        scope = observation.scope
        if subscription is not None:
            allowed = subscription.plan.allowed
            if scope is None:
                scope = subscription.scope if subscription.own else subscription.principal.scope
        if scope is None:
            scope = self._attributed_scope(attribution, mentions, cause)
        return Sighting(
            observation,
            str(observation.data),
            scope,
            self._permit(observation, scope, allowed),
            observed.time,
            mentions,
            None,
            subscription,
            cause,
        )

    def attributed(
        self, attribution: Mapping[str, str], mentions: tuple[str, ...]
    ) -> list[Identifier]:
        """Give the known identifiers that an attribution states, widest kind first.

        What the caller itself sent is left out: an attempt on another's thread may be recorded.
        """
        found = []
        for name in ATTRIBUTES:
            value = attribution.get(name)
            if value and value not in mentions:
                identifier = self.identifiers.get(value)
                if identifier is not None:
                    found.append(identifier)
        return found

    def _attributed_scope(
        self,
        attribution: Mapping[str, str],
        mentions: tuple[str, ...],
        cause: OperationEntry | None,
    ) -> Scope:
        """Resolve whose something is by what it states, up to the first contradiction.

        With no known identifier it belongs to whoever caused it; without a cause, to nobody.
        """
        scope = Scope()
        for identifier in self.attributed(attribution, mentions):
            if not scope.contains(identifier.owner):
                break
            scope = identifier.owner
        if scope == Scope() and cause is not None:
            return cause.principal.scope
        return scope

    def _permit(
        self, observation: Observation, scope: Scope, plans: tuple[AllowancePlan, ...]
    ) -> Permit:
        allowed = observation.allowed
        key: object = (scope, plans) if allowed is None else allowed
        permit = self._permits.get(key)
        if permit is None:
            given: tuple[Allowance, ...] = (
                tuple(plan.around(scope) for plan in plans) if allowed is None else allowed
            )
            permit = self._permits[key] = Permit(given)
        return permit
