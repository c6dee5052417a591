"""Whether what a message left is what it should leave, under its own context and no other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from integration.environment import Environment
from integration.propagation.evidence import Mark, marks_of, seen
from integration.propagation.journeys import Journey
from integration.propagation.steps import FIELDS, Request, Steps, expected
from tools.processes.waiting import until


async def arrival(environment: Environment, journey: Journey, steps: Steps) -> None:
    """Waits until as much has come of a journey as it should leave.

    Rows of trails are committed before the line and the span that tell of them.
    """
    wanted = sum(kind != "trail" for _, kind, _ in steps)
    await until(lambda: seen(environment, journey.trace.trace_id) >= wanted)


async def arrived(environment: Environment, journey: Journey, steps: Steps) -> list[Mark]:
    """What a journey left, once all of it has come."""
    await arrival(environment, journey, steps)
    return await marks_of(environment, journey.trace.trace_id)


def faults(journey: Journey, steps: Steps, found: list[Mark]) -> list[str]:
    """What is wrong with what a journey left: too much, too little, or under another context."""
    counts = Counter(mark.step for mark in found)
    wrong = [f"{step}: {counts[step]} times" for step in {*steps, *counts} if counts[step] != 1]
    wrong += [f"{step}: not expected" for step in counts if step not in steps]
    if wrong:
        return wrong
    requests = requests_of(journey, steps, found)
    for mark in found:
        wanted = expected(journey, steps[mark.step], mark, requests)
        if wanted != mark.said(FIELDS):
            wrong.append(f"{mark.step}: expected {wanted}, got {mark.said(FIELDS)}")
    if len(set(requests.values())) != len(requests):
        wrong.append(f"requests are not new: {requests}")
    return wrong


def requests_of(journey: Journey, steps: Steps, found: list[Mark]) -> Mapping[Request, str]:
    """The request of each part of the way: the caller's as told, the others by what trails say."""
    requests = {Request.ENTRY: journey.request_id}
    for mark in found:
        if mark.kind == "trail":
            requests.setdefault(steps[mark.step].request, str(mark.fields["request_id"]))
    return requests
