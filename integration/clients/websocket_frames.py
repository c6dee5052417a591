"""What goes over a WebSocket with the backend: frames as values, without any I/O."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from contracts.context import ContextError, RequestId, RunId, ThreadId
from integration.clients.answers import Answer, Refused, Unexpected

Frame = dict[str, Any]
"""One JSON frame. Its values are whatever the peer sent."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A committed agent request; `sequence` is the run's last event's."""

    thread_id: ThreadId
    run_id: RunId
    request_id: RequestId
    sequence: int
    answer: Answer

    @classmethod
    def read(cls, answer: Answer) -> Acknowledgement:
        """The one that a frame holds.

        Raises:
            Unexpected: it lacks a field, or a field is no identifier.
        """
        fields = json.loads(answer.body)
        try:
            return cls(
                thread_id=ThreadId(fields["thread_id"]),
                run_id=RunId(fields["run_id"]),
                request_id=RequestId(fields["request_id"]),
                sequence=whole_number(answer, "sequence"),
                answer=answer,
            )
        except (KeyError, ContextError) as error:
            raise Unexpected("an acknowledged frame", answer) from error


def websocket_url(base_url: str, ticket: str | None, client_id: str | None) -> str:
    """Where the backend of an HTTP base URL takes WebSockets. A ticket stands in the URL."""
    scheme, _, rest = base_url.rstrip("/").partition("://")
    url = f"{scheme.replace('http', 'ws')}://{rest}/ws"
    if ticket is None:
        return url
    label = {} if client_id is None else {"client_id": client_id}
    return f"{url}?{urlencode({'ticket': ticket, **label})}"


def make_frame(kind: str, **fields: object) -> Frame:
    """A frame of a type, with those fields that have a value."""
    return {
        "type": kind,
        **{name: value for name, value in fields.items() if value is not None},
    }


def require_type(answer: Answer, expected: str) -> Answer:
    """The same answer, where it is a frame of that type.

    Raises:
        Refused: it is an error frame.
        Unexpected: it is of another type.
    """
    frame = json.loads(answer.body)
    if frame["type"] == "error":
        raise Refused(str(frame["code"]), str(frame["message"]), answer)
    if frame["type"] != expected:
        raise Unexpected(f"a frame of type {expected}", answer)
    return answer


def whole_number(answer: Answer, name: str) -> int:
    """A field that must be a whole number.

    Raises:
        Unexpected: it is absent or something else.
    """
    value = json.loads(answer.body).get(name)
    if type(value) is not int:
        raise Unexpected(f"a whole number as {name}", answer)
    return value


def last_is(kind: str | None) -> Callable[[list[Frame]], bool]:
    """Whether the last of some events is of a type; without a type, never."""
    return lambda events: kind is not None and bool(events) and events[-1]["type"] == kind


def refusal(close_code: int | None, reason: str) -> Refused:
    """What a server that closes instead of admitting says (4000 and HTTP's number)."""
    codes = {4400: "INVALID_ARGUMENT", 4401: "UNAUTHENTICATED", 4403: "PERMISSION_DENIED"}
    code = codes.get(close_code or 0, "UNAVAILABLE" if close_code else "UNKNOWN")
    return Refused(code, reason, Answer(str(close_code), reason.encode()))
