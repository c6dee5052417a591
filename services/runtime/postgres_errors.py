"""What can go wrong with a statement, without the literals that Postgres puts into its messages.

```
ServiceError
├── Unavailable          no connection, a time-out, a lock not given, the server shuts down
└── Internal
    └── DatabaseError    the statement was refused or failed; `sqlstate` says how
        ├── ConstraintViolated   a unique key, foreign key or check; `constraint` names it
        ├── RowRefused           row-level security, or no grant
        └── StatementFailed      anything else
```

`DETAIL: Key (tenant_id, login_name)=(…) already exists` would carry a user's data into a log or an
answer. Where a driver's error is translated, every error in its chain loses its words, too.
"""

from __future__ import annotations

from typing import Final

import asyncpg
import sqlalchemy.exc

from services.runtime.errors import Internal, Unavailable

# Classes 08 connection, 53 resources, 57 operator intervention and cancelled statements, 58 system.
_UNAVAILABLE_CLASSES: Final = ("08", "53", "57", "58")
# 25P03 idle in transaction, 40001 serialisation, 40P01 deadlock, 55P03 lock not available.
_UNAVAILABLE_STATES: Final = frozenset({"25P03", "40001", "40P01", "55P03"})
_CONSTRAINT_CLASS: Final = "23"
_INSUFFICIENT_PRIVILEGE: Final = "42501"
_DRIVER_ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
_WORDS: Final = ("message", "detail", "hint", "internal_query", "context")


class DatabaseError(Internal):
    """A statement failed. A caller that expects it turns it into an answer; else it is a defect."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__()
        self.sqlstate = sqlstate

    def __str__(self) -> str:
        return f"{type(self).__name__}: SQLSTATE {self.sqlstate}"


class ConstraintViolated(DatabaseError):
    """A unique key, foreign key, check or NOT NULL refused a row.

    `constraint` is its name, or empty.
    """

    def __init__(self, sqlstate: str, constraint: str) -> None:
        super().__init__(sqlstate)
        self.constraint = constraint


class RowRefused(DatabaseError):
    """A policy's WITH CHECK refused a row, or the role lacks the grant."""


class StatementFailed(DatabaseError):
    """The statement failed for another reason."""


class UnscopedTransaction(Internal):
    """A transaction was begun without a scope; nothing was sent to the server."""

    default_message = "the service failed"

    def __str__(self) -> str:
        return "expected a DataScope before the first statement of a transaction, got none"


def typed_error(error: Exception) -> Exception | None:
    """What a driver's or SQLAlchemy's error means here, or None for an error of another kind."""
    driver = _driver_error(error)
    sqlstate = str(getattr(driver, "sqlstate", None) or "")
    constraint = str(getattr(driver, "constraint_name", None) or "")
    silence(error)
    if sqlstate.startswith(_UNAVAILABLE_CLASSES) or sqlstate in _UNAVAILABLE_STATES:
        return Unavailable()
    if sqlstate.startswith(_CONSTRAINT_CLASS):
        return ConstraintViolated(sqlstate, constraint)
    if sqlstate == _INSUFFICIENT_PRIVILEGE:
        return RowRefused(sqlstate)
    if sqlstate or isinstance(driver, asyncpg.DataError):
        return StatementFailed(sqlstate or "22000")
    if isinstance(error, OSError | sqlalchemy.exc.TimeoutError) or lost_connection(error):
        return Unavailable()
    return None


def lost_connection(error: BaseException) -> bool:
    """Whether the driver can no longer use the connection. It has no SQLSTATE of its own for it."""
    return isinstance(_driver_error(error), asyncpg.InterfaceError | asyncpg.InternalClientError)


def _driver_error(error: BaseException) -> BaseException:
    """The asyncpg error below its two wrappers, or the error itself."""
    for link in _chain(error):
        if isinstance(link, _DRIVER_ERRORS):
            return link
    return error


def _chain(error: BaseException) -> list[BaseException]:
    links: list[BaseException] = []
    pending: list[BaseException | None] = [error]
    while pending:
        link = pending.pop(0)
        if link is None or link in links:
            continue
        links.append(link)
        original = link.orig if isinstance(link, sqlalchemy.exc.StatementError) else None
        pending += [original, link.__cause__, link.__context__]
    return links


def silence(error: BaseException) -> None:
    """Takes the words, which may quote a row, from a database error and all that it came from."""
    for link in _chain(error):
        module = type(link).__module__
        if not module.startswith(("asyncpg", "sqlalchemy")):
            continue
        link.args = (f"SQLSTATE {getattr(link, 'sqlstate', None) or 'none'}",)
        for name in _WORDS:
            if isinstance(getattr(link, name, None), str):
                setattr(link, name, None)
