"""A hop believes the context beside its token, whatever the token says."""

from __future__ import annotations

from contracts.context import UserExecutionContext
from contracts.context.carriers.hop import TransactionClaims
from services.runtime import boundaries


def _believe(context: UserExecutionContext, claims: TransactionClaims) -> None:
    del context, claims


def install() -> None:
    """Replaces the `require_same_principal` that boundaries compare with."""
    boundaries.require_same_principal = _believe  # type: ignore[attr-defined]  # imported there
