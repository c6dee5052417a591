"""The words that every audit speaks: channels, anomalies, verdicts, classes of what is observed."""

from enum import Enum, IntEnum, StrEnum


class Expectation(StrEnum):
    """What a channel must show before its silence counts as evidence."""

    CONTENT = "content"
    """The owners' own content canaries must be seen; a channel that shows none is inconclusive."""
    IDENTIFIERS = "identifiers"
    """Canaries of either kind must be seen; content may travel there, and need not."""
    CONTENT_FREE = "content-free"
    """Any content canary is a leak, whoever owns it."""


class Channel(StrEnum):
    """Where data travels or rests."""

    HTTP = "http"
    GRPC = "grpc"
    WEBSOCKET = "websocket"
    REDIS_KEYS = "redis-keys"
    REDIS_PUBSUB = "redis-pubsub"
    REDIS_STREAMS = "redis-streams"
    POSTGRES_ROWS = "postgres-rows"
    LOGS = "logs"
    TRACES = "traces"
    METRICS = "metrics"
    ERRORS = "errors"
    AUDIT_TRAIL = "audit-trail"

    @property
    def expectation(self) -> Expectation:
        """What is expected of this channel where the adapter declares nothing else."""
        return _EXPECTATIONS[self]


_EXPECTATIONS = {
    Channel.HTTP: Expectation.CONTENT,
    Channel.GRPC: Expectation.IDENTIFIERS,
    Channel.WEBSOCKET: Expectation.CONTENT,
    Channel.REDIS_KEYS: Expectation.IDENTIFIERS,
    Channel.REDIS_PUBSUB: Expectation.IDENTIFIERS,
    Channel.REDIS_STREAMS: Expectation.IDENTIFIERS,
    Channel.POSTGRES_ROWS: Expectation.CONTENT,
    Channel.LOGS: Expectation.CONTENT_FREE,
    Channel.TRACES: Expectation.CONTENT_FREE,
    Channel.METRICS: Expectation.CONTENT_FREE,
    Channel.ERRORS: Expectation.CONTENT_FREE,
    Channel.AUDIT_TRAIL: Expectation.CONTENT_FREE,
}

PUSHED = frozenset({Channel.WEBSOCKET, Channel.REDIS_PUBSUB})
"""Channels that bring events: a stranger's canary there was routed wrongly."""

STORED = frozenset({Channel.REDIS_KEYS, Channel.REDIS_STREAMS, Channel.POSTGRES_ROWS})
"""Channels where data rests: a stranger's canary there was written into the wrong scope."""

RECORDED = frozenset({Channel.LOGS, Channel.TRACES, Channel.METRICS, Channel.AUDIT_TRAIL})
"""Channels that tell what was done: a stranger's canary there was another context's."""


class Consequence(StrEnum):
    """What an anomaly means for its victim."""

    LEAK = "leak"
    LOSS = "loss"


class Anomaly(StrEnum):
    """What can go wrong, by name. Every report has a row for each."""

    CROSS_TENANT_READ = "cross-tenant-read"
    CROSS_USER_READ = "cross-user-read"
    CROSS_THREAD_READ = "cross-thread-read"
    WRITE_CAPTURE = "write-capture"
    MISROUTE = "misroute"
    STALE_PRINCIPAL = "stale-principal"
    CONTEXT_BLEED = "context-bleed"
    EXISTENCE_ORACLE = "existence-oracle"
    AGGREGATE_CONTAMINATION = "aggregate-contamination"
    PHANTOM_CONTINUITY = "phantom-continuity"
    PRIVILEGE_ESCALATION = "privilege-escalation"
    LOST_DELIVERY = "lost-delivery"

    @property
    def consequence(self) -> Consequence:
        """Whether it shows somebody what is another's, or keeps from an owner what is theirs.

        A continuity that was lost is a loss too; whoever finds one says so in its finding.
        """
        return Consequence.LOSS if self is Anomaly.LOST_DELIVERY else Consequence.LEAK

    @property
    def meaning(self) -> str:
        """One sentence for people who read a report."""
        return _MEANINGS[self]


_MEANINGS = {
    Anomaly.CROSS_TENANT_READ: "an answer holds what belongs to another tenant",
    Anomaly.CROSS_USER_READ: "an answer holds what belongs to another user of the tenant",
    Anomaly.CROSS_THREAD_READ: "an answer for one thread holds what belongs to another thread",
    Anomaly.WRITE_CAPTURE: "a write landed in another's scope",
    Anomaly.MISROUTE: "an event reached another's client or thread",
    Anomaly.STALE_PRINCIPAL: "somebody was served after revocation, beyond the stated bound",
    Anomaly.CONTEXT_BLEED: "work or a record of it stands under another's context",
    Anomaly.EXISTENCE_ORACLE: "an answer tells that another's object exists",
    Anomaly.AGGREGATE_CONTAMINATION: "a count or a sum includes what is others'",
    Anomaly.PHANTOM_CONTINUITY: "a session was resumed for the wrong owner, or lost for the right",
    Anomaly.PRIVILEGE_ESCALATION: "a scope or a role widened on a hop",
    Anomaly.LOST_DELIVERY: "an acknowledged write is missing, out of order, or there twice",
}


class ObservationClass(StrEnum):
    """What kind of thing an observation shows of its owner."""

    CONTENT = "content"
    IDENTIFIER = "identifier"
    AGGREGATE = "aggregate"


class Verdict(Enum):
    """What an audit says. Members stand in the order in which they outrank each other."""

    LEAK = 10
    LOSS = 11
    INCONCLUSIVE = 12
    PASS = 0

    @property
    def exit_code(self) -> int:
        """The program's exit code: 0, or from 10 up, because Bazel itself uses 1 to 4."""
        return self.value


class ExitCode(IntEnum):
    """Exit codes that are no verdict."""

    USAGE = 64
    """Wrong arguments (EX_USAGE of sysexits.h)."""
