"""What the system did, as its datastores and its own figures count it: to show that it did nothing.

A refused request must leave no statement of a service's role, no Redis command on data, and no
call to another service behind it, and exactly one refusal in the figures.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

from prometheus_client.parser import text_string_to_metric_families

from integration.environment import Environment
from integration.security.sending import http_client

_LIMIT_SECONDS: Final = 20.0

# Login roles that work by themselves, whatever is asked; every other role's statements count.
_BACKGROUND_ROLES: Final = {
    "auth_revocations": "auth reads and prunes revocations for those who poll them",
    "backend_relay": "looks twice a second for rows of the outbox",
}
# Commands that come by themselves. None reads or writes a key of a user's.
_BACKGROUND_COMMANDS: Final = {
    "ping": "health",
    "hello": "a connection opens",
    "auth": "a connection opens",
    "client|setinfo": "a connection opens",
    "client|setname": "a connection opens",
    "client|list": "this observer looks whether it is alone",
    "select": "a connection opens",
    "xautoclaim": "the stream's consumer looks for entries that nobody finished",
    "xgroup|create": "the stream's consumer",
    "xinfo|groups": "the stream's consumer looks whether its group is there",
    "xlen": "the relay looks how much waits",
    "xpending": "the stream's consumer trims",
    "xread": "the relay waits for what the consumer says it has stored",
    "xreadgroup": "the stream's consumer waits for entries",
    "xtrim": "the stream's consumer trims",
    "info": "this observer",
}
_REFUSALS: Final = "watertight_refusals_total"
_REQUESTS: Final = "watertight_requests_total"
_ENTRIES: Final = "watertight_stream_entries_total"
_COUNTED: Final = (_REFUSALS, _REQUESTS, _ENTRIES)
_HEARTBEAT: Final = "watertight.auth.v1.AuthService/ListRevocations"
# Calls between services that come by themselves, or before it is known who calls.
_BACKGROUND_CALLS: Final = {
    _HEARTBEAT: "every process asks twice a second which sessions ended",
    "watertight.auth.v1.AuthService/GetKeys": "the keys that credentials are verified with",
}
_ROLES: Final = (
    "analytics_service",
    "auth_revocations",
    "auth_service",
    "backend_relay",
    "backend_service",
)
_STATEMENTS: Final = """
    SELECT rolname AS role, query, sum(calls)::bigint AS calls
    FROM pg_stat_statements JOIN pg_roles ON pg_roles.oid = userid
    WHERE rolname = ANY($1::text[])
    GROUP BY rolname, query
"""


@dataclass(frozen=True, slots=True)
class Effects:
    """Counts so far, or between two looks.

    `statements` is by role and text, `commands` by name, `calls` by the process that was asked and
    the operation, `refusals` by process, channel and code, `entries` of the stream by their end.
    """

    statements: Counter[tuple[str, str]]
    commands: Counter[str]
    calls: Counter[tuple[str, str]]
    refusals: Counter[tuple[str, str, str]]
    entries: Counter[str]

    def since(self, before: Self) -> Self:
        """What came since an earlier look."""
        return type(self)(
            self.statements - before.statements,
            self.commands - before.commands,
            self.calls - before.calls,
            self.refusals - before.refusals,
            self.entries - before.entries,
        )

    @property
    def roles(self) -> set[str]:
        """The roles of services that ran a statement on behalf of somebody."""
        return {role for role, _ in self.statements if role not in _BACKGROUND_ROLES}

    def touched(self, asked: str = "") -> list[str]:
        """What was done on behalf of somebody, in words.

        Args:
            asked: the process that was asked; that it was is no call between services.
        """
        return sorted(self._touched(asked))

    def _touched(self, asked: str) -> Iterator[str]:
        for (role, query), number in self.statements.items():
            if role not in _BACKGROUND_ROLES:
                yield f"{number} statement of {role}: {query:.80}"
        for command, number in self.commands.items():
            if command not in _BACKGROUND_COMMANDS:
                yield f"{number} command {command}"
        for (process, operation), number in self.calls.items():
            if process != asked and operation not in _BACKGROUND_CALLS:
                yield f"{number} call to {process}: {operation}"

    @property
    def heartbeats(self) -> int:
        """How often processes asked for revocations."""
        return sum(n for (_, operation), n in self.calls.items() if operation == _HEARTBEAT)


class NotAlone(Exception):
    """Somebody else uses the Redis server, whose figures are of all commands together."""


async def look(environment: Environment) -> Effects:
    """All counts, as they are now.

    Raises:
        NotAlone: on a server that is shared, somebody else's connection would be counted, too.
    """
    if strangers := await asyncio.to_thread(environment.valkey.strangers):
        raise NotAlone(f"expected the system's connections alone, got others of {strangers}")
    processes = {
        "auth": environment.auth_url,
        "analytics": environment.analytics_url,
        **dict(zip(environment.replica_names, environment.backend_urls, strict=True)),
    }
    roles = {environment.names.role(role): role for role in _ROLES}
    fetch = environment.postgres.admin.fetch
    async with http_client(5.0) as client:
        rows, stats, *pages = await asyncio.gather(
            asyncio.to_thread(fetch, _STATEMENTS, sorted(roles)),
            asyncio.to_thread(environment.valkey.admin.info, "commandstats"),
            *(client.get(f"{url}/metrics") for url in processes.values()),
        )
    statements = Counter(
        {(roles[str(r["role"])], str(r["query"])): int(str(r["calls"])) for r in rows}
    )
    calls: Counter[tuple[str, str]] = Counter()
    refusals: Counter[tuple[str, str, str]] = Counter()
    entries: Counter[str] = Counter()
    for process, page in zip(processes, pages, strict=True):
        for name, labels, value in _samples(page.raise_for_status().text):
            if name == _REQUESTS:
                calls[process, labels["operation"]] += int(value)
            elif name == _REFUSALS:
                refusals[process, labels["channel"], labels["code"]] += int(value)
            elif name == _ENTRIES:
                entries[labels["outcome"]] += int(value)
    return Effects(statements, _commands(stats), calls, refusals, entries)


async def settled(environment: Environment) -> Effects:
    """Waits until what was asked before has had all its effects, and gives the counts then."""
    limit = time.monotonic() + _LIMIT_SECONDS
    while True:
        before = await look(environment)
        after = await heard(environment, before)
        if not after.since(before).touched():
            return after
        if time.monotonic() > limit:
            raise TimeoutError(f"the system does not rest: {after.since(before).touched()}")


async def consumed(environment: Environment, before: Effects) -> Effects:
    """The counts once the consumer has counted an entry, which it does after acknowledging it."""
    limit = time.monotonic() + _LIMIT_SECONDS
    while True:
        after = await look(environment)
        if after.since(before).entries:
            return after
        if time.monotonic() > limit:
            raise TimeoutError("the stream's consumer has counted no entry")
        await asyncio.sleep(0.05)


async def heard(environment: Environment, before: Effects) -> Effects:
    """The counts after every process has polled, so that what happens late has happened."""
    limit = time.monotonic() + _LIMIT_SECONDS
    rounds = 2 * (len(environment.replica_names) + 1)
    while True:
        after = await look(environment)
        if after.heartbeats - before.heartbeats >= rounds:
            return after
        if time.monotonic() > limit:
            raise TimeoutError("the processes no longer ask for revocations")
        await asyncio.sleep(0.05)


def _commands(stats: Any) -> Counter[str]:
    return Counter(
        {name.removeprefix("cmdstat_"): int(fields["calls"]) for name, fields in stats.items()}
    )


def _samples(page: str) -> Iterator[tuple[str, dict[str, str], float]]:
    # A page is long, and read hundreds of times.
    lines = [line for line in page.splitlines() if line.startswith(_COUNTED)]
    families: Any = text_string_to_metric_families("\n".join([*lines, ""]))
    for family in families:
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value
