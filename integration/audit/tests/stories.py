"""Histories made up for tests: a correct system's, at random, for tests to plant a wrong in."""

from collections.abc import Callable
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
    Closing,
    Completed,
    Ended,
    Header,
    IdentifierIssued,
    Invoked,
    Observed,
    PrincipalDeclared,
    Record,
    ScopeDeclared,
    Subscribed,
    Unsubscribed,
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


def correct_story(random: Random, steps: int = 40) -> Story:
    """Make a correct system's history: overlapping writes of every outcome, reads, events, logs."""
    story = Story(random.randrange(1000))
    threads = list(story.threads)
    sockets = _subscribe_all(story)
    pending: list[Callable[[], None]] = []
    for _ in range(steps):
        action = random.choice((_write, _read, _list, _total, _probe))
        end = action(story, random.choice(threads), random, sockets)
        pending.append(end)
        while pending and random.random() < 0.6:
            pending.pop(random.randrange(len(pending)))()
    for end in pending:
        end()
    for thread in threads:
        story.read(thread, final=True)
    for thread in threads:
        _total(story, thread, random, sockets)()
    for number, (scope, delivered) in sockets.items():
        assert delivered == len(story.threads[scope].entries)
        story.records.append(Unsubscribed(number, story.tick(), Closing.FINISHED))
    return story


Sockets = dict[int, tuple[Scope, int]]


def _subscribe_all(story: Story) -> Sockets:
    sockets: Sockets = {}
    for scope in story.threads:
        number = len(sockets)
        sockets[number] = (scope, 0)
        record = Subscribed(number, SOCKET.name, story.principal(scope).name, scope, story.tick())
        story.records.append(record)
    return sockets


def _write(story: Story, thread: Scope, random: Random, sockets: Sockets) -> Callable[[], None]:
    invoked = story.invoke(WRITE, thread)
    result = random.choices(list(Result), (8, 1, 1))[0]
    early = random.random() < 0.5
    happens = result is Result.OK or (result is Result.UNKNOWN and random.random() < 0.5)

    def happen() -> None:
        story.threads[thread].entries.append(invoked.canaries[0])
        for number, (scope, delivered) in sockets.items():
            if scope == thread:
                sockets[number] = (scope, delivered + 1)
                event = f"event for {story.identifier(thread)}: {invoked.canaries[0].upper()}"
                observation = Observation(Channel.WEBSOCKET, event, sequence=delivered + 1)
                story.see(observation, number)
        row = Observation(
            Channel.POSTGRES_ROWS,
            invoked.canaries[0],
            attribution={"thread": story.identifier(thread), "trace": invoked.trace},
        )
        story.see(row)

    if happens and early:
        happen()

    def end() -> None:
        if happens and not early:
            happen()
        story.complete(invoked, result=result, status=result.value)
        story.log(invoked, thread=story.identifier(thread))

    return end


def _read(story: Story, thread: Scope, random: Random, sockets: Sockets) -> Callable[[], None]:
    del random, sockets
    invoked = story.invoke(READ, thread)
    seen = story.entries(thread)

    def end() -> None:
        story.complete(invoked, *seen)
        story.log(invoked)

    return end


def _list(story: Story, thread: Scope, random: Random, sockets: Sockets) -> Callable[[], None]:
    del random, sockets
    user = thread.at(Level.USER)
    invoked = story.invoke(LIST, user)
    own = [scope for scope in story.threads if user.contains(scope)]
    texts = [story.identifier(scope) + "".join(story.threads[scope].entries[:1]) for scope in own]

    def end() -> None:
        story.complete(invoked, Observation(Channel.HTTP, str(texts)))
        story.log(invoked)

    return end


def _total(story: Story, thread: Scope, random: Random, sockets: Sockets) -> Callable[[], None]:
    del random, sockets
    user = thread.at(Level.USER)
    invoked = story.invoke(TOTAL, user)
    value = sum(len(held.entries) for scope, held in story.threads.items() if user.contains(scope))
    reading = Reading("messages", value)

    def end() -> None:
        story.complete(invoked, readings=(reading,))
        story.log(invoked)

    return end


def _probe(story: Story, thread: Scope, random: Random, sockets: Sockets) -> Callable[[], None]:
    del sockets
    user = thread.at(Level.USER)
    foreign = random.choice([scope for scope in story.threads if not user.contains(scope)])
    plan = random.choice((READ, WRITE))
    existing = story.invoke(plan, foreign, story.principal(thread))
    absent = story.invoke(plan, foreign, story.principal(thread), absent=True, twin=existing.number)

    def end() -> None:
        for invoked, name in ((existing, story.identifier(foreign)), (absent, "id-nowhere")):
            story.complete(
                invoked,
                Observation(Channel.ERRORS, f"no thread {name}, request {invoked.trace}"),
                result=Result.FAILED,
                status="404",
                mentions=(name,),
            )
            story.log(invoked, thread=name)

    return end
