"""`tools/bazel run //integration/performance:scaling`: 10, 100 and 1,000 contexts at once."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from integration.environment import Environment
from integration.fixtures.principals import Principals
from integration.performance.command import main
from integration.performance.comparison import Comparison, Sample
from integration.performance.scaling import measure_scaling, speakers

_CONTEXTS: Final = (10, 100, 1_000)
_REPLICAS: Final = 2
_IN_TURN: Final = "one after the other"
_AT_ONCE: Final = "at once"


async def benchmark(rounds: int) -> Sequence[Comparison]:
    """The same messages one after the other and at once, to `agent_completed`, warm."""
    # Who makes a thousand people and then measures should not have to log in meanwhile.
    settings = {"auth": {"ACCESS_TOKEN_SECONDS": "3600"}}
    found = []
    async with Environment(settings=settings, replicas=_REPLICAS) as environment:
        principals = Principals(environment)
        for contexts in _CONTEXTS:
            async with speakers(
                environment, principals, contexts, replicas=_REPLICAS, patient=True
            ) as speaking:
                scaling = await measure_scaling(speaking, rounds=rounds)
                refused = sum(len(speaker.refused) for speaker in speaking)
            found.append(
                Comparison(
                    name=f"scaling-{contexts}",
                    question=f"What do {contexts:,} contexts at once cost?",
                    baseline=_IN_TURN,
                    samples={
                        _IN_TURN: Sample(tuple(each.in_turn_seconds for each in scaling.rounds)),
                        _AT_ONCE: Sample(tuple(each.at_once_seconds for each in scaling.rounds)),
                    },
                    notes=(
                        f"the median of the rounds' own T(n) / (n * T(1)): {scaling.factor:.2f}",
                        f"refused for now, and said again, the time included: {refused} messages",
                        "a message over each one's WebSocket until its own agent_completed, warm",
                    ),
                )
            )
    return found


if __name__ == "__main__":
    sys.exit(main("scaling", "Contexts at once.", benchmark, sys.argv[1:]))
