"""What requests leave behind: log lines, spans and trail rows of every service."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

from contracts.context import UserExecutionContext
from contracts.context.carriers.entry import read_entry
from integration.environment import SERVICES, Environment
from watertight.events.v1.usage_pb2 import UsageEntry

PREFIX: Final = "watertight."
"""What a span's attributes of ours begin with."""

_SPANS_ENDED: Final = "watertight_spans_total"

Sample = tuple[str, str, frozenset[tuple[str, str]]]
"""A figure: the process that shows it, its name, and its labels."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing that a request left: a log line, a span, or a row of a trail.

    `what` is the line's event, the span's name or the row's action; `fields` what else it says,
    under the context's own names, the trace as `trace_id`.
    """

    service: str
    kind: str
    what: str
    fields: Mapping[str, Any]

    @property
    def step(self) -> tuple[str, str, str]:
        """What it is, whoever left it."""
        return self.service, self.kind, self.what

    def said(self, names: Iterable[str]) -> dict[str, Any]:
        """Those of these fields that it has."""
        return {name: self.fields[name] for name in names if self.fields.get(name) is not None}


def log_lines(environment: Environment) -> list[Mark]:
    """Every line that every service has logged so far.

    Raises:
        ValueError: a line is no JSON.
    """
    return list(_log_lines(environment))


def seen(environment: Environment, trace_id: str) -> int:
    """How many log lines and spans of one trace have come so far. Blocks for some milliseconds."""
    lines = _log_lines(environment, trace_id)
    return sum(1 for _ in lines) + len(environment.spans.spans_of(trace_id))


async def marks(environment: Environment) -> list[Mark]:
    """Everything that all requests have left so far, all spans of it included."""
    figures = await asyncio.to_thread(metrics, environment)
    ended: Counter[str] = Counter()
    for (process, name, _), value in figures.items():
        if name == _SPANS_ENDED:
            ended[process.partition("-")[0]] += int(value)
    await environment.spans.arrival(ended)
    rows = await asyncio.to_thread(lambda: list(_trail(environment)))
    return [*_log_lines(environment), *_spans(environment), *rows]


async def marks_of(environment: Environment, trace_id: str) -> list[Mark]:
    """What one trace has left so far."""
    return [mark for mark in await marks(environment) if mark.fields.get("trace_id") == trace_id]


def entries(environment: Environment) -> list[tuple[UserExecutionContext, UsageEntry]]:
    """What is on the usage stream: entries stay for a minute. Blocks shortly."""
    stream = f"{environment.names.redis_namespace}:stream:usage"
    found: Any = environment.valkey.admin.xrange(stream)
    return [read_entry(fields) for _, fields in found]


def metrics(environment: Environment) -> dict[Sample, float]:
    """Every figure that every process shows now. Blocks shortly."""
    figures: dict[Sample, float] = {}
    for process, page in pages(environment).items():
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                figures[process, sample.name, frozenset(sample.labels.items())] = sample.value
    return figures


def pages(environment: Environment) -> dict[str, str]:
    """What every process shows to whoever scrapes it. Blocks shortly."""
    urls = {
        "auth": environment.auth_url,
        "analytics": environment.analytics_url,
        **dict(zip(environment.replica_names, environment.backend_urls, strict=True)),
    }
    with httpx.Client(trust_env=False, timeout=5.0) as client:
        return {
            process: client.get(f"{url}/metrics").raise_for_status().text
            for process, url in urls.items()
        }


def _log_lines(environment: Environment, word: str = "") -> Iterator[Mark]:
    for name, process in environment.service_processes.items():
        # What has no end yet is still being written.
        for line in process.log_path.read_text().split("\n")[:-1]:
            if word not in line:
                continue
            fields = json.loads(line)
            what = str(fields.get("event", "ready" if "ready" in fields else ""))
            yield Mark(name.partition("-")[0], "log", what, fields)


def _spans(environment: Environment) -> Iterator[Mark]:
    for span in environment.spans.spans:
        said = {name.removeprefix(PREFIX): value for name, value in span.attributes.items()}
        said |= {"trace_id": span.trace_id, "span_id": span.span_id, "parent_id": span.parent_id}
        yield Mark(span.service, "span", span.name, said)


def _trail(environment: Environment) -> Iterator[Mark]:
    for service in SERVICES:
        for row in environment.postgres.admin.fetch("SELECT * FROM trail", database=service):
            yield Mark(service, "trail", str(row["action"]), row)
