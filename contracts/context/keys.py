"""One injective encoding of namespace, scope and name, for Redis keys and channel names.

Each part is percent-encoded to `[A-Za-z0-9_.~%-]` (RFC 3986, section 2.1) and prefixed with its
length, so that no identifier can hold a delimiter or a glob: different inputs give different keys.
A part that is absent is `-`, which no length can be.
"""

from __future__ import annotations

import hashlib
from urllib.parse import quote

from contracts.context.errors import ContextMissing
from contracts.context.scopes import DataScope


def encode_parts(*parts: str | None) -> str:
    """The parts in one string, injectively: an empty part and an absent one differ."""
    return ",".join(_encode_part(part) for part in parts)


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
