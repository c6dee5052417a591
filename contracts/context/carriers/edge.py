"""The edge: a caller from outside says who it is by one Bearer token (RFC 6750, section 2.1).

Context headers from outside are never read here, and so dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from contracts.context.errors import (
    ContextDuplicated,
    ContextMalformed,
    ContextMissing,
    ContextOversized,
)

MAXIMUM_TOKEN_BYTES: Final = 4096
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9\-._~+/]+=*)")


def only(name: str, values: Iterable[str | bytes]) -> str | bytes:
    """The single value of a header or metadata key.

    Raises:
        ContextMissing: there is none.
        ContextDuplicated: there are several.
    """
    found = list(values)
    if not found:
        raise ContextMissing(name, "expected exactly one, got none")
    if len(found) > 1:
        raise ContextDuplicated(name, f"expected exactly one, got {len(found)}")
    return found[0]


def read_bearer(pairs: Iterable[tuple[str, str | bytes]]) -> str:
    """The access token in raw header or metadata pairs, whose names may be of any case.

    Raises:
        ContextMissing, ContextDuplicated, ContextMalformed, ContextOversized
    """
    value = only("authorization", (v for name, v in pairs if name.lower() == "authorization"))
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    if len(text) > MAXIMUM_TOKEN_BYTES:
        raise ContextOversized("authorization", f"expected at most {MAXIMUM_TOKEN_BYTES} bytes")
    if (match := _BEARER.fullmatch(text)) is None:
        raise ContextMalformed("authorization", "expected `Bearer` and one token")
    return match[1]
