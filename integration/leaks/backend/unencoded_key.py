"""Keys and channels are made by joining what they are of, as it comes, without the user."""

from __future__ import annotations

from contracts.context import DataScope
from services.runtime import redis


def _joined(namespace: str, scope: DataScope, *names: str | None) -> str:
    owner = scope.thread_id or scope.lookup or scope.tenant_id
    return ":".join([namespace, str(owner), *map(str, names)])


def install() -> None:
    """Replaces `redis.scoped_key`."""
    redis.scoped_key = _joined  # type: ignore[attr-defined]  # imported there
