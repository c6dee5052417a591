"""The observer of metrics: every figure that a process shows, with its labels and its help."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Final

from integration.audit import Channel, Observation
from integration.clients.connections import HttpConnections

SPANS_ENDED: Final = "watertight_spans_total"
_PAUSE_SECONDS: Final = 1.0


class Metrics:
    """What processes show to whoever scrapes them.

    Args:
        processes: connections to each, by its name.
    """

    def __init__(self, processes: Mapping[str, HttpConnections]) -> None:
        self._processes = processes
        self._known: set[tuple[str, str]] = set()

    async def follow(self) -> AsyncIterator[Observation]:
        """Every second what is new: a figure whose name and labels were not there before.

        A figure may have come and gone when the end is looked at.
        """
        while True:
            for process, lines in (await self.scrape()).items():
                for line in lines:
                    known = (process, _without_value(line))
                    if known not in self._known:
                        self._known.add(known)
                        yield _observation(process, line)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def scrape(self) -> dict[str, list[str]]:
        """Every line that each process shows now.

        Raises:
            ClientError: a process did not answer as it should.
        """
        names = list(self._processes)
        answers = await asyncio.gather(*map(self._scraped, names))
        return dict(zip(names, answers, strict=True))

    async def _scraped(self, process: str) -> list[str]:
        answer = await self._processes[process].request("GET", "/metrics")
        return [
            line for line in answer.body.decode("utf-8", "backslashreplace").splitlines() if line
        ]


def observe_metrics(scraped: Mapping[str, Iterable[str]]) -> Iterator[Observation]:
    """Every line of a scrape: figures are everybody's, so none may name anybody."""
    for process, lines in scraped.items():
        for line in lines:
            yield _observation(process, line)


def spans_ended(scraped: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """How many spans each service has ended by its own count: its processes' together.

    Raises:
        KeyError: a process does not say.
    """
    ended: Counter[str] = Counter()
    for process, lines in scraped.items():
        counts = [line.split()[1] for line in lines if line.startswith(f"{SPANS_ENDED} ")]
        if not counts:
            raise KeyError(f"{process}: expected {SPANS_ENDED} among its metrics")
        ended[process.partition("-")[0]] += int(float(counts[0]))
    return dict(ended)


def _observation(process: str, line: str) -> Observation:
    return Observation(Channel.METRICS, line, allowed=(), source=f"{process} metrics")


def _without_value(line: str) -> str:
    """What stays of a line while its figure grows; of a comment all."""
    return line if line.startswith("#") else line.rpartition(" ")[0]
