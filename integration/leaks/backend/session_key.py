"""The key of a remembered session lacks the thread."""

from __future__ import annotations

from contracts.context import DataScope
from services.runtime import sessions
from services.runtime.redis import ScopedRedis

_name = ScopedRedis.name


def _name_without_thread(redis: ScopedRedis, namespace: str, scope: DataScope, *names: str) -> str:
    """The same for all threads of a user where sessions are kept."""
    if namespace == sessions._NAMESPACE and scope.tenant_id and scope.user_id:  # noqa: SLF001 -- a defect takes what it wants
        scope = DataScope.user(scope.tenant_id, scope.user_id)
    return _name(redis, namespace, scope, *names)


def install() -> None:
    """Replaces `ScopedRedis.name`."""
    ScopedRedis.name = _name_without_thread  # type: ignore[method-assign,assignment]
