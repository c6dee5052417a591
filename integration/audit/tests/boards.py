"""A system in this process, for tests of the engine: threads, events, log-out, totals, a log.

It is correct, unless a test names one of its `FAULTS`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from integration.audit.adapter import Call, Issued, Observation, Outcome, Reading, Subscription
from integration.audit.errors import SubscriptionRefusedError
from integration.audit.population import Population
from integration.audit.scopes import AllowancePlan, Level, Reach, Scope
from integration.audit.system import (
    ADMINISTRATOR,
    ChannelPlan,
    MeasurePlan,
    OperationKind,
    OperationPlan,
    SubscriptionPlan,
    SystemDescription,
)
from integration.audit.tests.stories import hash_hex
from integration.audit.vocabulary import Channel, Expectation, ObservationClass

TOTALS_ONLY = (
    AllowancePlan(ObservationClass.IDENTIFIER, Level.TENANT, Reach.AT),
    AllowancePlan(ObservationClass.AGGREGATE, Level.TENANT),
)

DESCRIPTION = SystemDescription(
    name="board",
    channels=(
        ChannelPlan(Channel.HTTP),
        ChannelPlan(Channel.ERRORS),
        ChannelPlan(Channel.WEBSOCKET),
        ChannelPlan(Channel.REDIS_PUBSUB),
        ChannelPlan(Channel.LOGS),
        ChannelPlan(Channel.POSTGRES_ROWS, Expectation.CONTENT, 2, 2),
    ),
    operations=(
        OperationPlan("create", Channel.HTTP, OperationKind.CREATE, Level.THREAD),
        OperationPlan(
            "post",
            Channel.HTTP,
            OperationKind.WRITE,
            Level.THREAD,
            weight=3,
            delivers_to=("posts",),
            contributes={"posts": 1},
        ),
        OperationPlan("read", Channel.HTTP, OperationKind.READ, Level.THREAD, reads="posts"),
        OperationPlan("total", Channel.HTTP, OperationKind.AGGREGATE, Level.USER),
        OperationPlan(
            "tenant total",
            Channel.HTTP,
            OperationKind.AGGREGATE,
            Level.TENANT,
            role=ADMINISTRATOR,
            allowed=TOTALS_ONLY,
        ),
        OperationPlan("log out", Channel.HTTP, OperationKind.REVOKE, Level.USER),
    ),
    subscriptions=(
        SubscriptionPlan("events", Channel.WEBSOCKET, Level.THREAD, "posts", gapless=True),
    ),
    measures=(MeasurePlan("posts", "posts", lag_seconds=0.2),),
    revocation_bound_seconds=0.1,
    settle_seconds=0.5,
    operation_limit_seconds=0.5,
)

FAULTS = {
    "wrong thread": "a read gives the posts of another thread of the user",
    "no owner check": "anybody may read a thread whose identifier they have",
    "captured": "a post of one user lands in the first user's thread",
    "broadcast": "events go to everybody",
    "joined": "anybody may listen to any thread",
    "lost": "a post is acknowledged and not kept",
    "twice": "a post is kept twice",
    "counts all": "a total counts the whole tenant",
    "never logged out": "a logged-out session goes on",
    "stays connected": "a logged-out session's connections are silent, and stay open",
    "tells": "another's thread is forbidden, an absent one is not found",
    "log": "log lines name the first user",
    "everybody administers": "members are told their tenant's total",
}


class Board:
    """The system and its adapter in one."""

    def __init__(self, fault: str = "", description: SystemDescription = DESCRIPTION) -> None:
        self.fault = fault
        self._description = description
        self._posts: dict[Scope, list[str]] = {}
        self._queues: list[tuple[Subscription, asyncio.Queue[Observation | None]]] = []
        self._sequences: dict[Scope, int] = {}
        self._gone: set[str] = set()
        self._log: list[tuple[str, dict[str, str]]] = []
        self._watched: asyncio.Queue[Observation | None] = asyncio.Queue()
        self._first = Scope()

    @property
    def description(self) -> SystemDescription:
        """What the board has, as the test wants it declared."""
        return self._description

    async def prepare(self, population: Population, issue: Callable[[Issued], None]) -> None:
        """Issue everybody's identifiers."""
        self._first = population.users[0].scope
        for tenant in population.tenants:
            issue(Issued("tenant", identifier(tenant), tenant))
        for user in population.users:
            issue(Issued("user", identifier(user.scope), user.scope))

    async def invoke(self, call: Call) -> Outcome:
        """Answer as a service would: who may, what is there, what is done."""
        await asyncio.sleep(0)
        user = self._first if self.fault == "log" else call.principal.scope
        self._log.append(
            (f"{call.operation.name} done", {"trace": call.trace, "user": identifier(user)})
        )
        if call.principal.name in self._gone and self.fault != "never logged out":
            return Outcome.failed("401")
        own = call.principal.authority.contains(call.scope)
        if self.fault == "no owner check" and call.operation.name == "read":
            own = True
        if self.fault == "everybody administers" and call.scope.level is Level.TENANT:
            own = call.scope.contains(call.principal.scope)
        if call.absent or not own:
            known = not call.absent and self.fault == "tells"
            name = "id-000000000000" if call.absent else identifier(call.scope)
            body = [Observation(Channel.ERRORS, f"{name} is not there")]
            return Outcome.failed("403" if known else "404", body, mentions=[name])
        return await self._act(call)

    async def _act(self, call: Call) -> Outcome:
        match call.operation.name:
            case "create":
                self._posts[call.scope] = []
                issued = [Issued("thread", identifier(call.scope), call.scope)]
                return Outcome.ok("201", self._http(identifier(call.scope)), issued=issued)
            case "post":
                await self._post(call)
                return Outcome.ok("201", self._http("stored"))
            case "read":
                posts = self._posts[self._read_scope(call.scope)]
                return Outcome.ok("200", [Observation(Channel.HTTP, post) for post in posts])
            case "log out":
                self._log_out(call.principal.name)
                return Outcome.ok("204")
        around = call.scope.at(Level.TENANT) if self.fault == "counts all" else call.scope
        value = sum(len(posts) for scope, posts in self._posts.items() if around.contains(scope))
        return Outcome.ok("200", self._http(str(value)), readings=[Reading("posts", value)])

    def _log_out(self, principal: str) -> None:
        self._gone.add(principal)
        if self.fault in {"never logged out", "stays connected"}:
            return
        for subscription, queue in self._queues:
            if subscription.principal.name == principal:
                queue.put_nowait(None)

    async def _post(self, call: Call) -> None:
        text = call.canaries[0]
        kept = {"lost": 0, "twice": 2}.get(self.fault, 1) if call.number % 5 == 0 else 1
        first = next(iter(self._posts))
        scope = first if self.fault == "captured" and call.number % 5 == 0 else call.scope
        self._posts[scope].extend([text] * kept)
        self._sequences[scope] = self._sequences.get(scope, 0) + 1
        for subscription, queue in self._queues:
            if subscription.principal.name in self._gone and self.fault != "never logged out":
                continue
            if subscription.scope == scope or self.fault == "broadcast":
                sequence = self._sequences[scope]
                queue.put_nowait(Observation(Channel.WEBSOCKET, text, sequence=sequence))
        stated = {"thread": identifier(scope)}
        self._watched.put_nowait(
            Observation(Channel.REDIS_PUBSUB, f"wake {identifier(scope)}", attribution=stated)
        )

    def _read_scope(self, scope: Scope) -> Scope:
        if self.fault != "wrong thread":
            return scope
        user = scope.at(Level.USER)
        return next(other for other in reversed(self._posts) if user.contains(other))

    @staticmethod
    def _http(text: str) -> list[Observation]:
        return [Observation(Channel.HTTP, text)]

    @asynccontextmanager
    async def subscribe(
        self, subscription: Subscription
    ) -> AsyncIterator[AsyncIterator[Observation]]:
        """Connect to the events of one thread."""
        own = subscription.principal.authority.contains(subscription.scope)
        if not own and self.fault != "joined":
            raise SubscriptionRefusedError("4403")
        queue: asyncio.Queue[Observation | None] = asyncio.Queue()
        self._queues.append((subscription, queue))
        yield _until_closed(queue)

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[Observation]]:
        """See every wake-up."""
        yield _until_closed(self._watched)

    async def rest(self) -> AsyncIterator[Observation]:
        """Give the log and the table of posts."""
        for line, stated in self._log:
            yield Observation(Channel.LOGS, line, attribution=stated, source="board log")
        for scope, posts in self._posts.items():
            for post in posts:
                stated = {"thread": identifier(scope)}
                yield Observation(
                    Channel.POSTGRES_ROWS, post, attribution=stated, source="table posts"
                )


async def _until_closed(queue: asyncio.Queue[Observation | None]) -> AsyncIterator[Observation]:
    while (observation := await queue.get()) is not None:
        yield observation


def identifier(scope: Scope) -> str:
    """Give the identifier that the board issues for a scope."""
    return f"id-{hash_hex(str(scope))}"
