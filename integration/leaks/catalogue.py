"""The seeded leaks as data: what each does, where it comes from, and what it must be found as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """One piece of one service replaced from outside, by `integration/leaks/<service>/<name>.py`.

    Args:
        name: what it is asked for by.
        description: in one sentence, what goes wrong.
        service: the service in whose process it is.
    """

    name: str
    description: str
    service: str

    @property
    def command(self) -> tuple[str | Path, ...]:
        """Runs the service with it: the launcher beside this file, as Bazel built it."""
        return (Path(__file__).with_name(f"{self.service}_with"), self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak(Defect):
    """A leak taken from a real incident, which the audit must find.

    Args:
        source: where it happened.
        mechanism: what exactly is replaced by what.
        anomalies: what it may be found as; the verdict is LEAK with one of them.
        channels: where the leak may be seen first.
        postgres_settings: of the database server, instead of a piece of a service. The service is
            `postgres` then.
    """

    source: str
    mechanism: str
    anomalies: tuple[str, ...]
    channels: tuple[str, ...]
    postgres_settings: Mapping[str, str] = field(default_factory=dict)


LEAKS: Final = (
    Leak(
        name="database-scope",
        description="a pooled database connection still has its last user's scope",
        source="amfs, pull request 363",
        mechanism=(
            "the scope is set for the session instead of the transaction, and where a user only "
            "reads not until she writes, to save the round trip; so does the pool, which gives "
            "connections back as they are"
        ),
        service="backend",
        anomalies=("cross-tenant-read", "cross-user-read"),
        channels=("http", "grpc"),
    ),
    Leak(
        name="cache-key",
        description="the key of a cached transcript lacks the thread",
        source="Klarna, May 2021",
        mechanism="the key is made of the user's scope and the head's number",
        service="backend",
        anomalies=("cross-thread-read",),
        channels=("http", "grpc"),
    ),
    Leak(
        name="websocket-routing",
        description="events go to every connection of the tenant, for clients to pick theirs",
        source="klangk 1714, OliveTin 471",
        mechanism="a thread's recipients are all subscriptions of its tenant in the process",
        service="backend",
        anomalies=("misroute",),
        channels=("websocket",),
    ),
    Leak(
        name="stream-consumer",
        description="a consumer works on an entry under the context of the one before",
        source="ogx 5221, where a lazily started worker kept its first user's context",
        mechanism="an entry's context is put aside and used for the next entry",
        service="analytics",
        anomalies=("write-capture", "aggregate-contamination", "context-bleed"),
        channels=("postgres-rows", "http", "grpc", "audit-trail", "logs", "traces"),
    ),
    Leak(
        name="log-context",
        description="log lines say the context of another request",
        source="structlog 302",
        mechanism="the logger is bound once, and bound anew only after a line was written",
        service="backend",
        anomalies=("context-bleed",),
        channels=("logs",),
    ),
    Leak(
        name="aggregate-query",
        description="a tenant's totals include those of other tenants",
        source="a public post-mortem: 11 days unnoticed, for the figures looked right",
        mechanism="the object that sums usage keeps the tenants that asked, and sums over all",
        service="analytics",
        anomalies=("aggregate-contamination",),
        channels=("http",),
    ),
    Leak(
        name="trail-context",
        description="the trail says of an action that it was another request's",
        source="django-auditlog 72, where under load the wrong user was written down",
        mechanism=(
            "all requests share a recorder, which holds the first one's request and trace until a "
            "row was written; row-level security keeps the user right"
        ),
        service="backend",
        anomalies=("context-bleed",),
        channels=("audit-trail",),
    ),
    Leak(
        name="trace-content",
        description="spans hold what was said",
        source="OpenLLMetry 118: prompts and completions are attributes until switched off",
        mechanism="the agent's run puts the message and the reply on the operation's span",
        service="backend",
        anomalies=("context-bleed",),
        channels=("traces",),
    ),
    Leak(
        name="metric-label",
        description="a figure names its user, to whoever scrapes it",
        source="LiteLLM 24530: labels of all tenants' users, on an open /metrics",
        mechanism="usage is counted by user, with the identifier as a label",
        service="analytics",
        anomalies=("context-bleed",),
        channels=("metrics",),
    ),
    Leak(
        name="datastore-log",
        description="the database's log holds every value that is written or asked for",
        source="pgBadger 823: what log_min_duration_statement = 0 records",
        mechanism="slow statements are looked for, all of them, and logged with their parameters",
        service="postgres",
        anomalies=("context-bleed",),
        channels=("logs",),
        postgres_settings={
            "log_min_duration_statement": "0",
            "log_error_verbosity": "default",
            "log_parameter_max_length": "-1",
        },
    ),
)
"""Every seeded leak, by the channel that it is on."""


def leak_named(name: str) -> Leak:
    """The leak of that name.

    Raises:
        KeyError: there is none.
    """
    for leak in LEAKS:
        if leak.name == name:
            return leak
    raise KeyError(f"expected one of {', '.join(leak.name for leak in LEAKS)}; got {name!r}")
