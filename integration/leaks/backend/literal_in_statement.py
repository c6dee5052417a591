"""Content stands in the text of a statement, where every session of the role can read it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import text

from services.backend import store

_append: Callable[..., Awaitable[None]] = store.append


async def _explain_and_append(session: Any, context: Any, **more: Any) -> None:
    (_, message), *_ = more["messages"]
    literal = message.content.replace("'", "''").replace(":", "\\:")
    # Long enough to be seen, as a statement on a large table would be.
    await session.execute(text(f"SELECT pg_sleep(0.1) /* storing '{literal}' */"))
    await _append(session, context, **more)


def install() -> None:
    """Replaces `store.append`."""
    store.append = _explain_and_append
