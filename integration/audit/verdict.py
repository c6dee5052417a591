"""From what was found and covered to one word, with the reasons when it is no evidence."""

from collections.abc import Iterator

from integration.audit.adapter import Result
from integration.audit.examination import Examination
from integration.audit.vocabulary import Consequence, Expectation, Verdict

UNKNOWN_SHARE_LIMIT = 0.2
"""Share of operations whose outcome may be unknown before nothing can be said."""


def judge(examination: Examination) -> tuple[Verdict, list[str]]:
    """Give the verdict, and what keeps the audit from being conclusive (also beside a LEAK)."""
    reasons = list(_reasons(examination))
    consequences = examination.findings.consequences
    if consequences[Consequence.LEAK]:
        return Verdict.LEAK, reasons
    if consequences[Consequence.LOSS]:
        return Verdict.LOSS, reasons
    return (Verdict.INCONCLUSIVE if reasons else Verdict.PASS), reasons


def _reasons(examination: Examination) -> Iterator[str]:
    for note in examination.notes:
        yield f"{note.kind}: {note.text}"
    if not examination.whole:
        yield "the history has no end: the audit did not finish"
    yield from _channel_reasons(examination)
    yield from _operation_reasons(examination)
    for name, scope in sorted(examination.final_reads_missing):
        yield f"the last {name} of {scope} was not answered"
    for connection in examination.closed_by_system:
        yield f"the system closed {connection} while its session was valid"


def _channel_reasons(examination: Examination) -> Iterator[str]:
    declared = {plan.channel: plan for plan in examination.header.description.channels}
    for channel, coverage in examination.coverage.items():
        plan = declared.get(channel)
        if plan is None:
            if coverage.observations:
                yield f"{channel}: observed, though the adapter does not declare it"
            continue
        if coverage.observations < plan.minimum_observations:
            yield (
                f"{channel}: {coverage.observations} observations, at least "
                f"{plan.minimum_observations} are due"
            )
        elif plan.expected is not Expectation.CONTENT_FREE:
            seen = coverage.content
            if plan.expected is Expectation.IDENTIFIERS:
                seen += coverage.identifiers
            if seen < plan.minimum_canaries:
                yield (
                    f"{channel}: {seen} of the owners' own canaries were seen, at least "
                    f"{plan.minimum_canaries} are due"
                )


def _operation_reasons(examination: Examination) -> Iterator[str]:
    statistics = examination.statistics
    for plan in examination.header.description.operations:
        if not statistics.acknowledged[plan.name]:
            yield f"{plan.name} was never acknowledged: more operations, or a look at the system"
    total = sum(statistics.results.values())
    unknown = statistics.results[Result.UNKNOWN] + len(examination.ledger.operations) - total
    if unknown > UNKNOWN_SHARE_LIMIT * max(1, len(examination.ledger.operations)):
        yield f"the outcome of {unknown} of {len(examination.ledger.operations)} is unknown"
