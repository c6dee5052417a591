"""Whoever is logged in may do everything: nobody asks what a token is for."""

from __future__ import annotations

from contracts.context import Scope, UserExecutionContext


def _never_mind(context: UserExecutionContext, scope: Scope) -> None:
    del context, scope


def install() -> None:
    """Replaces `UserExecutionContext.require_scope`."""
    UserExecutionContext.require_scope = _never_mind  # type: ignore[method-assign,assignment]
