"""What is sent, in which order: everything follows from the seed.

The schedule is reproducible; how the system interleaves it is not, and need not be.
"""

from collections.abc import Iterator, Sequence
from itertools import count
from random import Random
from typing import Generic, NamedTuple, TypeVar

from integration.audit.population import AuditPlan, Population, Principal
from integration.audit.scopes import Level, Scope
from integration.audit.system import (
    MEMBER,
    OperationKind,
    OperationPlan,
    SubscriptionPlan,
    SystemDescription,
)

_PROBE_SHARE = 0.15
_BURST_SHARE = 0.3
"""How often an operation on a thread is followed by another on the same one, at once."""
_SECOND_SESSION_SHARE = 0.2
_REVOKED_LIMIT = 4
"""Sessions that are logged out: enough to see it, few enough not to end the workload's own."""
_CONNECTIONS_LIMIT = 400
_STRANGERS_FOR_EACH_TENANT = 2

_KINDS = (OperationKind.WRITE, OperationKind.READ, OperationKind.AGGREGATE)

_T = TypeVar("_T")

Actor = tuple[Principal, Scope]
"""Who asks, and for what."""


class Step(NamedTuple):
    """One operation of the schedule."""

    number: int
    operation: OperationPlan
    principal: Principal
    scope: Scope
    absent: bool = False
    twin: int | None = None
    """The step that asks the same of an object that exists."""
    final: bool = False


class Probe(NamedTuple):
    """A kind of attempt to get what is not one's own."""

    operation: OperationPlan
    pretended: bool = False
    """Whether a member asks in her own tenant, without the role that it takes."""


class Deck(Generic[_T]):
    """Draws each card once before any comes again, so that small workloads cover everything."""

    def __init__(self, cards: Sequence[_T], random: Random) -> None:
        """Hold the cards; there must be one."""
        self._cards = list(cards)
        self._random = random
        self._left: list[_T] = []

    def __bool__(self) -> bool:
        """Tell whether there is anything to draw."""
        return bool(self._cards)

    def draw(self) -> _T:
        """Take the next card."""
        if not self._left:
            self._left = self._random.sample(self._cards, len(self._cards))
        return self._left.pop()


class Workload:
    """The schedule of one audit, phase by phase. Numbers grow in the order of asking."""

    def __init__(
        self, description: SystemDescription, population: Population, plan: AuditPlan
    ) -> None:
        """Prepare the decks from the seed."""
        self._description = description
        self._population = population
        self._plan = plan
        self._random = Random(f"watertight {plan.seed}")  # noqa: S311 - reproducible, no secret
        self._numbers = count()
        members = {principal.scope: principal for principal in population.members()}
        self._owners = {thread: members[thread.at(Level.USER)] for thread in population.threads}
        self._threads: dict[Scope, list[Scope]] = {}
        for thread in population.threads:
            self._threads.setdefault(thread.at(Level.USER), []).append(thread)
        self._second = {session.scope: session for session in population.second_sessions()}
        self._actors = {
            operation.name: Deck(self._eligible(operation), self._random)
            for operation in description.operations
        }
        self.revoked = self._sessions_to_revoke()

    def creations(self) -> Iterator[Step]:
        """Make every thread."""
        for operation in self._description.operations:
            if operation.kind is OperationKind.CREATE:
                for thread, principal in self._owners.items():
                    yield self._step(operation, (principal, thread))

    def main(self) -> Iterator[Step]:
        """Give the workload proper: as many steps as the plan has operations."""
        sent = 0
        deck = Deck(self._cards(), self._random)
        probes = self._probe_deck()
        while deck and sent < self._plan.operations:
            card = deck.draw()
            steps = self._probe(probes.draw()) if card is None else self._burst(card)
            for step in steps[: self._plan.operations - sent]:
                sent += 1
                yield step

    def revocations(self) -> Iterator[Step]:
        """Log a few second sessions out, while their users' main sessions go on."""
        for operation in self._description.operations:
            if operation.kind is OperationKind.REVOKE:
                for principal in self.revoked:
                    yield self._step(operation, (principal, principal.scope))

    def afterwards(self) -> Iterator[Step]:
        """Let logged-out sessions ask again, and their users write what they must not hear."""
        for principal in self.revoked:
            for operation in self._description.operations:
                if operation.kind not in _KINDS or operation.role != MEMBER:
                    continue
                for scope in self._addressable(operation, principal)[:1]:
                    if operation.kind is OperationKind.WRITE and scope in self._owners:
                        yield self._step(operation, (self._owners[scope], scope))
                    yield self._step(operation, (principal, scope))

    def last_looks(self, kind: OperationKind) -> Iterator[Step]:
        """Let every owner look once more at everything that is theirs."""
        for operation in self._description.operations:
            if operation.kind is kind and (operation.reads or kind is OperationKind.AGGREGATE):
                for actor in self._eligible(operation):
                    yield self._step(operation, actor)._replace(final=True)

    def again(self, step: Step) -> Step:
        """Repeat a step under a number of its own."""
        return step._replace(number=next(self._numbers))

    def connections(self) -> Iterator[tuple[SubscriptionPlan, Principal, Scope]]:
        """Give the standing connections: several for each scope, the last by a second session."""
        opened = 0
        for plan in self._description.subscriptions:
            for principal, scope in self._listeners(plan):
                for client in range(plan.clients):
                    if opened == _CONNECTIONS_LIMIT:
                        return
                    opened += 1
                    by_second = 0 < client == plan.clients - 1
                    who = self._second.get(principal.scope, principal) if by_second else principal
                    yield plan, who, scope

    def strangers(self) -> Iterator[tuple[SubscriptionPlan, Principal, Scope]]:
        """Give the connections that somebody tries to open to what is another's."""
        for plan in self._description.subscriptions:
            if not plan.probed:
                continue
            for tenant in self._population.tenants:
                listeners = [actor for actor in self._listeners(plan) if tenant.contains(actor[1])]
                for principal, _ in self._random.sample(
                    listeners, min(_STRANGERS_FOR_EACH_TENANT, len(listeners))
                ):
                    foreign = self._foreign(principal, plan.level)
                    if foreign is not None:
                        yield plan, principal, foreign

    def _step(self, operation: OperationPlan, actor: Actor) -> Step:
        principal, scope = actor
        return Step(next(self._numbers), operation, principal, scope)

    def _cards(self) -> list[OperationPlan | None]:
        """Give each operation as often as it weighs; `None` stands for a pair of probes."""
        operations = [
            operation
            for operation in self._description.operations
            if operation.kind in _KINDS and self._actors[operation.name]
            for _ in range(operation.weight)
        ]
        share = _PROBE_SHARE if self._probe_deck() else 0.0
        probes = max(1, round(len(operations) * share)) if share else 0
        return [*operations, *([None] * probes)]

    def _probe_deck(self) -> Deck[Probe]:
        possible = [
            operation
            for operation in self._description.operations
            if operation.kind in _KINDS and self._actors[operation.name]
        ]
        foreign = [
            Probe(operation)
            for operation in possible
            if operation.probed and operation.level in (Level.THREAD, Level.TENANT)
        ]
        pretended = [Probe(each, pretended=True) for each in possible if each.role != MEMBER]
        return Deck([*foreign, *pretended], self._random)

    def _burst(self, operation: OperationPlan) -> list[Step]:
        principal, scope = self._actors[operation.name].draw()
        steps = []
        while True:
            acting = self._session(principal)
            steps.append(self._step(operation, (acting, scope)))
            again = operation.kind is OperationKind.WRITE and operation.level is Level.THREAD
            if not again or self._random.random() >= _BURST_SHARE:
                return steps

    def _probe(self, probe: Probe) -> list[Step]:
        if not probe.pretended:
            return self._twins(probe.operation)
        member = self._random.choice(self._population.members())
        return [self._step(probe.operation, (member, member.scope.at(probe.operation.level)))]

    def _twins(self, operation: OperationPlan) -> list[Step]:
        principal, scope = self._actors[operation.name].draw()
        foreign = self._foreign(principal, scope.level)
        if foreign is None:
            return [self._step(operation, (principal, scope))]
        existing = self._step(operation, (principal, foreign))
        absent = self._step(operation, (principal, foreign))
        return [existing, absent._replace(absent=True, twin=existing.number)]

    def _foreign(self, principal: Principal, level: Level) -> Scope | None:
        """Choose something of another's: often its namesake in another tenant."""
        if level is Level.TENANT:
            others = [each for each in self._population.tenants if each != principal.authority]
        elif level is Level.USER:
            others = [user.scope for user in self._population.users if user.role == MEMBER]
        else:
            others = list(self._population.threads)
        others = [each for each in others if not principal.authority.contains(each)]
        namesakes = [each for each in others if each.user == principal.scope.user]
        if namesakes and self._random.random() < 0.5:  # noqa: PLR2004 - either way
            others = namesakes
        return self._random.choice(others) if others else None

    def _session(self, principal: Principal) -> Principal:
        if self._random.random() < _SECOND_SESSION_SHARE:
            return self._second.get(principal.scope, principal)
        return principal

    def _eligible(self, operation: OperationPlan) -> list[Actor]:
        everybody = [*self._population.members(), *self._population.administrators()]
        return [
            (principal, scope)
            for principal in everybody
            if principal.role == operation.role
            for scope in self._addressable(operation, principal)
        ]

    def _addressable(self, operation: OperationPlan, principal: Principal) -> list[Scope]:
        if operation.level is Level.THREAD:
            return self._threads.get(principal.scope, [])
        return [principal.scope.at(operation.level)]

    def _listeners(self, plan: SubscriptionPlan) -> list[Actor]:
        if plan.level is Level.THREAD:
            return [(principal, thread) for thread, principal in self._owners.items()]
        return [
            (principal, principal.scope.at(plan.level)) for principal in self._population.members()
        ]

    def _sessions_to_revoke(self) -> list[Principal]:
        revoking = any(
            operation.kind is OperationKind.REVOKE for operation in self._description.operations
        )
        sessions = self._population.second_sessions() if revoking else []
        return self._random.sample(sessions, min(_REVOKED_LIMIT, len(sessions)))
