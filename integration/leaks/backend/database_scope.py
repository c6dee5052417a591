"""A pooled database connection still has its last user's scope when the next one reads."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, event

from contracts.context import DataScope, ScopeKind
from services.runtime import postgres


def _bind_for_session(connection: Connection, scope: DataScope) -> None:
    """Binds for the session, so that a user's mere reading saves the round trip."""
    if scope.kind is ScopeKind.USER:
        _bind_before_first_write(connection, scope)
    else:
        _set(connection, scope)


def _bind_before_first_write(connection: Connection, scope: DataScope) -> None:
    bound = False

    def before_execute(_connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal bound
        if not bound and not statement.lstrip().lower().startswith("select"):
            bound = True
            _set(connection, scope)

    event.listen(connection, "before_cursor_execute", before_execute)


def _set(connection: Connection, scope: DataScope) -> None:
    names = scope.settings()
    calls = ", ".join(f"set_config(${2 * i + 1}, ${2 * i + 2}, false)" for i, _ in enumerate(names))
    connection.exec_driver_sql(
        f"SELECT {calls}", tuple(part for pair in names.items() for part in pair)
    )


def _keep_session(*_: object) -> None:
    """Gives a connection back as it is, which saves a round trip more."""


def install() -> None:
    """Replaces `postgres.bind_scope`, and the pool's forgetting, which would stop the leak."""
    postgres.bind_scope = _bind_for_session
    postgres.forget_session = _keep_session  # type: ignore[assignment]  # takes whatever it is given
