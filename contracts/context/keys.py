"""One injective encoding of namespace, scope and name, for Redis keys and channel names.

Each part is percent-encoded to `[A-Za-z0-9_.~%-]` (RFC 3986, section 2.1) and prefixed with its
length, so that no identifier can hold a delimiter or a glob: different inputs give different keys.
A part that is absent is `-`, which no length can be.
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote, unquote

from contracts.context.errors import ContextMissing
from contracts.context.scopes import DataScope

# A part that is absent, or the length of one that follows. No key holds a part of a megabyte.
_PART = re.compile(r"-|(?P<length>[0-9]{1,6}):")


def encode_parts(*parts: str | None) -> str:
    """The parts in one string, injectively: an empty part and an absent one differ."""
    return ",".join(_encode_part(part) for part in parts)


def decode_parts(encoded: str) -> tuple[str | None, ...] | None:
    """The parts that a text was encoded from; `None` where `encode_parts` gives no such text."""
    if not encoded.isascii():
        return None
    parts: list[str | None] = []
    rest = encoded
    while rest:
        if (match := _PART.match(rest)) is None:
            return None
        end = match.end() + int(match["length"] or 0)
        parts.append(unquote(rest[match.end() : end]) if match["length"] else None)
        # What stands here is a comma, or else the comparison tells.
        rest = rest[end + 1 :]
    return tuple(parts) if encode_parts(*parts) == encoded else None


def _encode_part(part: str | None) -> str:
    if part is None:
        return "-"
    quoted = quote(part.encode(), safe="")
    return f"{len(quoted)}:{quoted}"


def scoped_key(namespace: str, scope: DataScope, *names: str | None) -> str:
    """The key of something in a scope. A key without a scope cannot be built.

    Args:
        namespace: what kind of thing it is, such as `transcript`.
        scope: whose it is; its kind is part of the key.
        names: what else tells it from its neighbours.
    """
    if not isinstance(scope, DataScope):
        raise ContextMissing("scope", f"a key needs a DataScope, got {type(scope).__name__}")
    return encode_parts(
        namespace,
        str(scope.kind),
        scope.tenant_id,
        scope.user_id,
        scope.thread_id,
        scope.lookup,
        *names,
    )


def short_key(namespace: str, scope: DataScope, *names: str | None) -> str:
    """`scoped_key` where a name must be short: all 64 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(scoped_key(namespace, scope, *names).encode()).hexdigest()
