"""W3C Trace Context level 2: `traceparent` as text, without authority or personal data."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

TRACEPARENT_KEY: Final = "traceparent"
_PATTERN = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<rest>-.*)?"
)


@dataclass(frozen=True, slots=True)
class TraceParent:
    """The trace and the calling span: 32 and 16 lower-case hexadecimal digits, and 8 flag bits."""

    trace_id: str
    span_id: str
    flags: int = 1

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


def read_traceparent(pairs: Iterable[tuple[str, str | bytes]]) -> TraceParent | None:
    """The trace to continue, or `None`: what is absent, repeated or malformed starts a new one.

    Section 3.2.2: version `ff` and identifiers of zeros only are invalid; version `00` has nothing
    after the flags.
    """
    values = [value for name, value in pairs if name.lower() == TRACEPARENT_KEY]
    if len(values) != 1:
        return None
    value = values[0]
    match = _PATTERN.fullmatch(value.decode("latin-1") if isinstance(value, bytes) else value)
    if match is None or match["version"] == "ff" or (match["version"] == "00" and match["rest"]):
        return None
    if not int(match["trace"], 16) or not int(match["span"], 16):
        return None
    return TraceParent(match["trace"], match["span"], int(match["flags"], 16))
