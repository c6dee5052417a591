"""Histories made up for tests, step by step."""

from dataclasses import dataclass, field
from random import Random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from integration.audit.adapter import Observation, Reading, Result
from integration.audit.canaries import CanaryMint
from integration.audit.examination import Examination, examine
from integration.audit.identifiers import Identifier
from integration.audit.population import AuditPlan, Population, Principal, populate
from integration.audit.records import (
    Completed,
    Ended,
    Header,
    IdentifierIssued,
    Invoked,
    Observed,
    PrincipalDeclared,
    Record,
    ScopeDeclared,
)
from integration.audit.scopes import Level, Scope
from integration.audit.system import (
    ChannelPlan,
    MeasurePlan,
    OperationKind,
    OperationPlan,
    SubscriptionPlan,
    SystemDescription,
)
from integration.audit.vocabulary import Anomaly, Channel

SECOND = 1_000_000_000
BOUND_SECONDS = 2.0

WRITE = OperationPlan(
    "write",
    Channel.HTTP,
    OperationKind.WRITE,
    Level.THREAD,
    delivers_to=("messages",),
    contributes={"messages": 1},
)
READ = OperationPlan("read", Channel.HTTP, OperationKind.READ, Level.THREAD, reads="messages")
LIST = OperationPlan("list", Channel.HTTP, OperationKind.READ, Level.USER)
TOTAL = OperationPlan("total", Channel.GRPC, OperationKind.AGGREGATE, Level.USER)
LOG_OUT = OperationPlan("log out", Channel.HTTP, OperationKind.REVOKE, Level.USER)
SOCKET = SubscriptionPlan(
    "socket", Channel.WEBSOCKET, Level.THREAD, stream="messages", gapless=True
)

DESCRIPTION = SystemDescription(
    name="story",
    channels=tuple(ChannelPlan(channel, minimum_canaries=0) for channel in Channel),
    operations=(WRITE, READ, LIST, TOTAL, LOG_OUT),
    subscriptions=(SOCKET,),
    measures=(MeasurePlan("messages", "messages"),),
    revocation_bound_seconds=BOUND_SECONDS,
)


EXAMPLES = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much]
)
"""How many histories a test of an oracle tries."""

randoms = st.integers(min_value=0, max_value=2**32).map(Random)
"""What a history is made from."""


@dataclass
class Thread:
    """What a correct system holds of one thread."""

    entries: list[str] = field(default_factory=list)


class Story:
    """A history under construction, with a clock that each line moves on."""

    def __init__(self, seed: int = 7, *, description: SystemDescription = DESCRIPTION) -> None:
        plan = AuditPlan(tenants=2, users=2, threads=2, seed=seed)
        self.mint = CanaryMint(seed)
        self.population: Population = populate(plan, description.operations)
        self.threads = {scope: Thread() for scope in self.population.threads}
        self.numbers: dict[Scope, int] = {}
        self.now = 0
        self.operations = 0
        self.records: list[Record] = [Header(description, plan, "2026-01-01T00:00:00+00:00")]
        for number, scope in enumerate(self.population.scopes()):
            self.numbers[scope] = number
            self.records.append(ScopeDeclared(number, scope))
            if scope.level is not Level.ROOT:
                kind = scope.level.name.lower()
                self.records.append(
                    IdentifierIssued(Identifier(self.identifier(scope), kind, scope))
                )
        self.records.extend(PrincipalDeclared(each) for each in self.population.principals)

    @staticmethod
    def identifier(scope: Scope) -> str:
        """Give the identifier that the made-up system issued for a scope."""
        return f"id-{hash_hex(str(scope))}"

    def principal(self, scope: Scope, session: str = "main") -> Principal:
        """Give a session of the scope's user."""
        user = scope.at(Level.USER)
        return next(
            p for p in self.population.principals if p.scope == user and p.session == session
        )

    def tick(self, seconds: float = 0.001) -> int:
        """Let time pass, and give the new time."""
        self.now += int(seconds * SECOND)
        return self.now

    def invoke(
        self,
        plan: OperationPlan,
        scope: Scope,
        principal: Principal | None = None,
        *,
        absent: bool = False,
        twin: int | None = None,
        final: bool = False,
    ) -> Invoked:
        """Send an operation; the thread's owner does unless told otherwise."""
        number = self.operations
        self.operations += 1
        who = principal or self.principal(scope)
        own = who.scope.contains(scope) and not absent
        canaries: tuple[str, ...] = ()
        if plan.kind is OperationKind.WRITE:
            canaries = (self.mint.plant(self.numbers[scope if own else who.scope], number),)
        mentions = () if own or absent else (self.identifier(scope),)
        invoked = Invoked(
            number,
            plan.name,
            who.name,
            scope,
            f"{number:032x}",
            self.tick(),
            canaries,
            mentions,
            absent,
            twin,
            final,
        )
        self.records.append(invoked)
        return invoked

    def complete(
        self,
        invoked: Invoked,
        *observations: Observation,
        result: Result = Result.OK,
        status: str = "200",
        readings: tuple[Reading, ...] = (),
        mentions: tuple[str, ...] = (),
    ) -> Completed:
        """End an operation."""
        completed = Completed(
            invoked.number, result, status, self.tick(), observations, readings, mentions
        )
        self.records.append(completed)
        return completed

    def see(self, observation: Observation, subscription: int | None = None) -> None:
        """See something outside any answer."""
        self.records.append(Observed(self.tick(), observation, subscription))

    def log(self, invoked: Invoked, **changed: str) -> None:
        """Write the log line of an operation."""
        user = next(p for p in self.population.principals if p.name == invoked.principal).scope
        stated = {
            "trace": invoked.trace,
            "tenant": self.identifier(user.at(Level.TENANT)),
            "user": self.identifier(user),
        }
        stated |= changed
        line = " ".join(f"{name}={value}" for name, value in stated.items())
        self.see(Observation(Channel.LOGS, line, attribution=stated, source="service log"))

    def write(self, thread: Scope) -> Invoked:
        """Do a whole write, acknowledged, delivered to nobody yet."""
        invoked = self.invoke(WRITE, thread)
        self.threads[thread].entries.append(invoked.canaries[0])
        self.complete(invoked, status="201")
        return invoked

    def read(self, thread: Scope, *, final: bool = False) -> Completed:
        """Do a whole read of a thread by its owner."""
        invoked = self.invoke(READ, thread, final=final)
        return self.complete(invoked, *self.entries(thread))

    def entries(self, thread: Scope) -> list[Observation]:
        """Give what a correct read of a thread shows."""
        return [
            Observation(Channel.HTTP, f'{{"text": "{text}"}}', stream="messages", sequence=number)
            for number, text in enumerate(self.threads[thread].entries, start=1)
        ]

    def finish(self) -> Examination:
        """End the history, and show it to the oracles."""
        return examine([*self.records, Ended(self.tick())])


def found(examination: Examination) -> dict[Anomaly, int]:
    """Give the anomalies of a history with their counts."""
    return dict(examination.findings.counts)


def hash_hex(text: str) -> str:
    """Give twelve hex digits that stand for a text."""
    return f"{Random(text).getrandbits(48):012x}"
