"""The protocol between the engine and a system under audit: what is asked, what is answered."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from integration.audit.population import Population, Principal
from integration.audit.scopes import Allowance, Scope
from integration.audit.system import OperationPlan, SubscriptionPlan, SystemDescription
from integration.audit.vocabulary import Channel


class Observation(NamedTuple):
    """Something that was seen: bytes that came back, or that rest in a channel."""

    channel: Channel
    data: str | bytes
    scope: Scope | None = None
    """Whose view this is. `None`: the scope that the call or subscription addressed; at rest,
    whatever `attribution` resolves to."""
    allowed: tuple[Allowance, ...] | None = None
    """What may appear in it; `None` stands for what the operation declares."""
    attribution: Mapping[str, str] | None = None
    """Whose it says it is, in the system's own identifiers: any of `trace` (32 hex digits),
    `tenant`, `user`, `thread`, `run`, `request`; and `scopes`, the rights that it was done with, in
    the words of the description's `grants`, a space between."""
    source: str = ""
    """Where exactly it was seen, such as `backend: table messages`: the hop of a witness."""
    stream: str = ""
    """The stream that it is an entry of, where delivery is judged by it."""
    sequence: int | None = None
    """Its number within the stream, where the system gives one."""


class Issued(NamedTuple):
    """An identifier that the system issued, and to whom."""

    kind: str
    """`tenant`, `user`, `thread`, `run`, `request` or `connection`."""
    value: str
    owner: Scope


class Reading(NamedTuple):
    """One count or sum that an aggregate operation reported."""

    measure: str
    value: int
    scope: Scope | None = None
    """What it claims to count; `None` stands for what the call addressed."""


class Result(StrEnum):
    """What is known of an operation after its end."""

    OK = "ok"
    """Acknowledged: it has happened."""
    FAILED = "failed"
    """It has definitely not happened."""
    UNKNOWN = "unknown"
    """It may have happened, or may happen yet."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an operation ended, with everything that came back."""

    result: Result
    status: str
    """The system's own word, such as `200`, `PERMISSION_DENIED`, `4403`."""
    observations: tuple[Observation, ...] = ()
    issued: tuple[Issued, ...] = ()
    readings: tuple[Reading, ...] = ()
    mentions: tuple[str, ...] = ()
    """Identifiers that the caller itself sent, such as the made-up one of an absent object: their
    echo is no leak, and twin probes are compared without them."""
    session: str = ""
    """The session that a write opened, or that another operation continued: the system's own name
    for it, such as a run's identifier. A thread has one at a time, that of its last write."""

    @classmethod
    def ok(
        cls,
        status: str,
        observations: Iterable[Observation] = (),
        *,
        issued: Iterable[Issued] = (),
        readings: Iterable[Reading] = (),
        mentions: Iterable[str] = (),
        session: str = "",
    ) -> "Outcome":
        """The system acknowledged it."""
        return cls(
            Result.OK,
            status,
            tuple(observations),
            tuple(issued),
            tuple(readings),
            tuple(mentions),
            session,
        )

    @classmethod
    def failed(
        cls, status: str, observations: Iterable[Observation] = (), *, mentions: Iterable[str] = ()
    ) -> "Outcome":
        """The system refused it, and nothing has happened."""
        return cls(Result.FAILED, status, tuple(observations), mentions=tuple(mentions))

    @classmethod
    def unknown(
        cls, status: str, observations: Iterable[Observation] = (), *, mentions: Iterable[str] = ()
    ) -> "Outcome":
        """Nobody can tell whether it happened (a time-out, a lost connection, a 500)."""
        return cls(Result.UNKNOWN, status, tuple(observations), mentions=tuple(mentions))


@dataclass(frozen=True, slots=True)
class Call:
    """One operation that the engine asks an adapter to send."""

    number: int
    operation: OperationPlan
    principal: Principal
    scope: Scope
    """What it addresses; somebody else's in a probe."""
    trace: str
    """Its own trace identifier (W3C Trace Context, 32 hex digits)."""
    canaries: tuple[str, ...] = ()
    """Put the first into every value that is written, and the second into a second field."""
    absent: bool = False
    """Address an object that exists nowhere, under an identifier of the same shape."""
    final: bool = False
    """Sent after the workload, for the last look at what its owner sees."""

    @property
    def traceparent(self) -> str:
        """The header of that name (W3C Trace Context, section 3.2), sampled."""
        return f"00-{self.trace}-{self.trace[16:]}-01"


@dataclass(frozen=True, slots=True)
class Subscription:
    """One standing connection that the engine asks an adapter to open."""

    number: int
    plan: SubscriptionPlan
    principal: Principal
    scope: Scope
    """What it listens to; somebody else's in a probe."""


class Adapter(Protocol):
    """A system under audit, as the engine sees it. All of it runs in one event loop.

    An exception out of any method (but `SubscriptionRefusedError`) is a fault of the adapter, not
    an answer of the system: the audit becomes INCONCLUSIVE.
    """

    @property
    def description(self) -> SystemDescription:
        """What the system has, and what may be seen in it."""
        ...

    async def prepare(self, population: Population, issue: Callable[[Issued], None]) -> None:
        """Make the tenants and users, and log every principal in.

        Threads too, where no operation is of kind CREATE. Every identifier that the system gives
        out is passed to `issue`.
        """
        ...

    async def invoke(self, call: Call) -> Outcome:
        """Send one operation. It may be cancelled after the description's limit."""
        ...

    def subscribe(
        self, subscription: Subscription
    ) -> AbstractAsyncContextManager[AsyncIterator[Observation]]:
        """Open a connection: entered when the system has acknowledged it, ended when it closes.

        Entering raises `SubscriptionRefusedError` when the system turns the subscriber away.
        """
        ...

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Observation]]:
        """Observe channels from outside while the workload runs; may bring nothing."""
        ...

    def rest(self) -> AsyncIterator[Observation]:
        """Give everything that rests at the end: rows, keys, entries, log lines, spans."""
        ...
