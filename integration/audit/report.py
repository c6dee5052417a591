"""A report: everything that an audit says, as values and as JSON."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

from integration.audit.activity import Activity, OperationFigures, Timeline
from integration.audit.adapter import Result
from integration.audit.errors import AuditError, CorruptHistoryError, HistoryError
from integration.audit.examination import Examination, examine
from integration.audit.findings import Finding
from integration.audit.reading import read_history
from integration.audit.records import Header, Record
from integration.audit.verdict import judge
from integration.audit.vocabulary import Anomaly, Channel, Expectation, Verdict
from integration.audit.witness import Witness, witnesses


@dataclass(frozen=True, slots=True)
class ChannelResult:
    """What one channel has shown; numbers are `None` where it was not observed."""

    observed: bool
    expectation: Expectation
    observations: int | None = None
    canaries: int | None = None
    """Own canaries of both kinds."""
    content_canaries: int | None = None
    identifier_canaries: int | None = None
    leaks: int | None = None
    minimum_observations: int | None = None
    """What the adapter declared, without which there is no verdict; `None` where it did not."""
    minimum_canaries: int | None = None
    sources: Mapping[str, int] = field(default_factory=dict)
    """Where on the channel was looked, and how often."""

    @property
    def promise(self) -> str:
        """Say in one sentence what must be so on this channel."""
        if self.expectation is Expectation.CONTENT_FREE:
            return "holds nobody's content, not even its owner's, and no stranger's identifiers"
        return "shows everybody their own, and nobody what belongs to another"

    @property
    def due(self) -> str:
        """Say in one sentence how much must be seen before its silence is evidence."""
        if self.minimum_observations is None:
            return "nothing: the adapter does not declare it"
        seen = f"at least {_counted(self.minimum_observations, 'observation')}"
        if self.expectation is Expectation.CONTENT_FREE or not self.minimum_canaries:
            return seen
        kind = "content" if self.expectation is Expectation.CONTENT else "own"
        canaries = "canary" if self.minimum_canaries == 1 else "canaries"
        return f"{seen}, and {self.minimum_canaries:,} {kind} {canaries} of their owners"


@dataclass(frozen=True, slots=True)
class AnomalyResult:
    """What is known of one anomaly."""

    count: int | None
    """How often it was found; `None`, never 0, where nothing looked."""
    checks: int | None
    """How often was looked; `None` where nothing looked."""
    consequence: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure with its unit."""

    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Report:
    """What one audit says, and on what grounds."""

    header: Header
    verdict: Verdict
    reasons: list[str]
    """What keeps it from being conclusive."""
    channels: Mapping[Channel, ChannelResult]
    anomalies: Mapping[Anomaly, AnomalyResult]
    findings: list[Finding]
    """The first of each anomaly on each channel."""
    witnesses: list[Witness]
    metrics: Mapping[str, Metric]
    duration_seconds: float
    operations: Sequence[OperationFigures]
    """The figures of each kind of operation."""
    timeline: Timeline
    check_command: str
    """What judges this history again; empty where no command line recorded it."""

    @property
    def sentence(self) -> str:
        """Say in one sentence what the verdict means, and what it rests on."""
        observations = sum(each.observations or 0 for each in self.channels.values())
        channels = sum(each.observed for each in self.channels.values())
        looked = (
            f"{_counted(observations, 'observation')} of "
            f"{_counted(sum(each.count for each in self.operations), 'operation')} on "
            f"{_counted(channels, 'channel')}"
        )
        if self.verdict is Verdict.PASS:
            return (
                "Nobody observed what belongs to another, and everybody received their own, in "
                f"{looked}."
            )
        if self.verdict is Verdict.INCONCLUSIVE:
            return f"Too little was seen to say anything, in {looked}."
        kind = "leak" if self.verdict is Verdict.LEAK else "loss"
        found = [
            f"{anomaly.value} ({result.count:,})"
            for anomaly, result in self.anomalies.items()
            if result.count and result.consequence == kind
        ] or [a.value for a, result in self.anomalies.items() if result.count]
        what = (
            "Somebody observed what belongs to another"
            if self.verdict is Verdict.LEAK
            else "Something that was acknowledged did not reach its owner, or not as it was"
        )
        return f"{what}: {', '.join(found)}, in {looked}."

    @property
    def limits(self) -> str:
        """Say in one sentence what was not looked at; empty where nothing was left out."""
        channels = [channel for channel, result in self.channels.items() if not result.observed]
        anomalies = [each for each, result in self.anomalies.items() if result.count is None]
        parts = [
            f"for {_enumerated(one, many, names, all_of_them)} ({lack})"
            for one, many, names, all_of_them, lack in (
                ("channel", "channels", channels, len(Channel), "not observed"),
                ("anomaly", "anomalies", anomalies, len(Anomaly), "not checked"),
            )
            if names
        ]
        return f"It does not speak {', nor '.join(parts)}." if parts else ""

    def with_reason(self, reason: str) -> "Report":
        """Give it with one more thing that keeps it from being conclusive."""
        verdict = Verdict.INCONCLUSIVE if self.verdict is Verdict.PASS else self.verdict
        return replace(self, verdict=verdict, reasons=[*self.reasons, reason])

    def to_json(self) -> dict[str, object]:
        """Give it as what JSON can hold."""
        header = self.header
        return {
            "verdict": self.verdict.name,
            "exit_code": self.verdict.exit_code,
            "reasons": self.reasons,
            "system": header.description.name,
            "command": header.command,
            "seed": header.plan.seed,
            "plan": asdict(header.plan),
            "configuration": dict(header.description.configuration),
            "started": header.started,
            "duration_seconds": self.duration_seconds,
            "channels": {each.value: asdict(result) for each, result in self.channels.items()},
            "anomalies": {each.value: asdict(result) for each, result in self.anomalies.items()},
            "witnesses": [witness.to_json() for witness in self.witnesses],
            "metrics": {name: asdict(metric) for name, metric in self.metrics.items()},
            "sentence": self.sentence,
            "machine": dict(header.machine),
            "check_command": self.check_command,
            "operations": {each.name: asdict(each) for each in self.operations},
            "timeline": asdict(self.timeline),
        }


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _enumerated(one: str, many: str, names: Sequence[str], all_of_them: int) -> str:
    """Give names as part of a sentence, with the word for one or many of them before them."""
    if len(names) == all_of_them:
        return f"any {one}"
    if len(names) == 1:
        return f"the {one} {names[0]}"
    return f"the {many} {', '.join(names[:-1])} and {names[-1]}"


def check_history(path: Path) -> Report:
    """Run every check over a history file, as often as one likes.

    Raises a `HistoryError` when the file is not a history that can be read.
    """
    began = perf_counter()
    activity = Activity()
    examination = _examined(path, activity)
    verdict, reasons = judge(examination)
    found = examination.findings.retained
    seen = witnesses(found, examination.ledger, read_history(path))
    check_seconds = perf_counter() - began
    header = examination.header
    seconds = examination.statistics.last_time / 1e9
    return Report(
        header=header,
        verdict=verdict,
        reasons=reasons,
        channels=_channels(examination, activity),
        anomalies={each: _anomaly(examination, each) for each in Anomaly},
        findings=found,
        witnesses=seen,
        metrics=_metrics(examination, path.stat().st_size, check_seconds),
        duration_seconds=round(seconds, 3),
        operations=activity.operations(header.description.operations, seconds),
        timeline=activity.timeline(),
        check_command=_check_command(header, path),
    )


def _check_command(header: Header, path: Path) -> str:
    """Name the history as it lies in its folder: where that is, is not the reader's concern."""
    if not header.program:
        return ""
    return f"{header.program} check {shlex.quote(f'{path.absolute().parent.name}/{path.name}')}"


def _examined(path: Path, activity: Activity) -> Examination:
    line = 0

    def counted() -> Iterator[Record]:
        nonlocal line
        for line, record in enumerate(read_history(path), start=1):  # noqa: B007 - for the error
            activity.feed(record)
            yield record

    try:
        return examine(counted())
    except HistoryError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AuditError) as error:
        reason = f"contradicts what came before it: {type(error).__name__}: {error}"
        raise CorruptHistoryError(path, line, reason) from error


def _channels(examination: Examination, activity: Activity) -> dict[Channel, ChannelResult]:
    declared = {plan.channel: plan for plan in examination.header.description.channels}
    results = {}
    for channel, coverage in examination.coverage.items():
        plan = declared.get(channel)
        if plan is None and not coverage.observations:
            results[channel] = ChannelResult(observed=False, expectation=channel.expectation)
            continue
        results[channel] = ChannelResult(
            observed=True,
            expectation=channel.expectation if plan is None else plan.expected,
            observations=coverage.observations,
            canaries=coverage.content + coverage.identifiers,
            content_canaries=coverage.content,
            identifier_canaries=coverage.identifiers,
            leaks=examination.findings.leaks[channel],
            minimum_observations=None if plan is None else plan.minimum_observations,
            minimum_canaries=None if plan is None else plan.minimum_canaries,
            sources=activity.sources(channel),
        )
    return results


def _anomaly(examination: Examination, anomaly: Anomaly) -> AnomalyResult:
    count = examination.findings.counts[anomaly]
    checks = examination.findings.checks(anomaly)
    return AnomalyResult(
        count=None if checks is None and not count else count,
        checks=checks,
        consequence=anomaly.consequence.value,
        meaning=anomaly.meaning,
    )


def _metrics(
    examination: Examination, history_bytes: int, check_seconds: float
) -> dict[str, Metric]:
    statistics = examination.statistics
    operations = len(examination.ledger.operations)
    seconds = max(statistics.last_time / 1e9, 1e-9)
    metrics = {
        "operations": Metric(operations, "operations"),
        "acknowledged": Metric(statistics.results[Result.OK], "operations"),
        "refused": Metric(statistics.results[Result.FAILED], "operations"),
        "unknown": Metric(
            operations - statistics.results[Result.OK] - statistics.results[Result.FAILED],
            "operations",
        ),
        "probes": Metric(statistics.probes, "operations"),
        "throughput": Metric(round(operations / seconds, 1), "operations/s"),
        "connections": Metric(statistics.connections, "connections"),
        "identifiers": Metric(statistics.identifiers, "identifiers"),
        "observations": Metric(statistics.observations, "observations"),
        "history_size": Metric(history_bytes, "bytes"),
        "check_time": Metric(round(check_seconds, 4), "s"),
        "check_rate": Metric(
            round(statistics.observations / max(check_seconds, 1e-9)), "observations/s"
        ),
    }
    if len(statistics.latencies) > 1:
        milliseconds = [latency / 1e6 for latency in statistics.latencies]
        metrics["latency_median"] = Metric(round(median(milliseconds), 3), "ms")
        metrics["latency_p95"] = Metric(round(quantiles(milliseconds, n=20)[-1], 3), "ms")
    return metrics
