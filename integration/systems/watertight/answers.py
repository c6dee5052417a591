"""How our system's answers become observations."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from integration.audit import Channel, Observation, Outcome
from integration.clients.answers import Answer, ClientError, Refused, Unanswered, Unexpected

# They tell the time, the server's software and the body's length, and nothing of anybody's.
_TELLING_NOTHING: Final = frozenset({"date", "server", "content-length"})


def whole(channel: Channel, answer: Answer, source: str) -> Iterator[Observation]:
    """An answer as one observation, and its headers as another."""
    yield Observation(channel, answer.body, source=source, stream="answer")
    yield from _headers(channel, answer, source)


def entries(
    channel: Channel, answer: Answer, source: str, found: Iterable[tuple[str, int | None, object]]
) -> Iterator[Observation]:
    """The entries of a list, each one observation, and the headers.

    Args:
        channel: where they travelled.
        answer: what they came in.
        source: which service's which operation it was.
        found: of each entry the stream, its sequence number where there is one, and its fields.
    """
    for stream, sequence, fields in found:
        data = json.dumps(fields, ensure_ascii=False, default=str)
        yield Observation(channel, data, source=source, stream=stream, sequence=sequence)
    yield from _headers(channel, answer, source)


def failure(error: ClientError, source: str, mentions: Iterable[str]) -> Outcome:
    """How an operation ended that gave no result; what the system said is seen on `errors`."""
    if isinstance(error, Refused):
        seen = tuple(whole(Channel.ERRORS, error.answer, source))
        status = f"{error.answer.status} {error.code}"
        if error.definite:
            return Outcome.failed(status, seen, mentions=mentions)
        return Outcome.unknown(status, seen, mentions=mentions)
    if isinstance(error, Unexpected):
        seen = tuple(whole(Channel.ERRORS, error.answer, source))
        return Outcome.unknown(f"{error.answer.status} unexpected", seen, mentions=mentions)
    if isinstance(error, Unanswered):
        return Outcome.unknown("unanswered", mentions=mentions)
    raise error


def _headers(channel: Channel, answer: Answer, source: str) -> Iterator[Observation]:
    headers = telling(answer.headers)
    if headers:
        yield Observation(
            channel,
            json.dumps(headers, sort_keys=True),
            source=f"{source} headers",
            stream="headers",
        )


def telling(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that could tell something of somebody."""
    return {
        name.lower(): value
        for name, value in headers.items()
        if name.lower() not in _TELLING_NOTHING
    }
