"""Deliberate defects as data: each turns a suite red, which a test of that suite shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from integration.leaks.catalogue import LEAKS, Defect

# For every table that says whose its rows are.
_UNSECURE: Final = """
do $$ declare name text; begin
    for name in select table_name from information_schema.columns
        where table_schema = 'public' and column_name = 'tenant_id'
    loop
        execute format('alter table %I disable row level security', name);
    end loop;
end $$
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaDefect(Defect):
    """What a wrong migration would have left in the databases; every service is as it should be.

    Args:
        statements: of the administrator, by the service in whose database they are run.
    """

    statements: Mapping[str, tuple[str, ...]]


DEFECTS: Final[tuple[Defect, ...]] = (
    Defect(
        name="acknowledged-too-early",
        description="a transaction is acknowledged first and committed in the background",
        service="backend",
    ),
    Defect(
        name="answer-of-another",
        description="a refusal names the request of the refusal before it",
        service="backend",
    ),
    Defect(
        name="breaker-stays-open",
        description="who has once found the database gone never asks it again",
        service="backend",
    ),
    Defect(
        name="context-unchecked",
        description="a hop believes the context beside its token, whatever the token says",
        service="analytics",
    ),
    Defect(
        name="depth-unlimited",
        description="nobody counts how deep a chain of calls is",
        service="analytics",
    ),
    Defect(
        name="entry-unjudged",
        description="the stream's consumer works under any context that it can read",
        service="analytics",
    ),
    Defect(
        name="exchange-widens",
        description="a transaction token may do all that an administrator may",
        service="auth",
    ),
    Defect(
        name="existence-told",
        description="what is another's is forbidden, and what is nobody's not found",
        service="backend",
    ),
    Defect(
        name="expired-accepted",
        description="an access token is good for ever",
        service="backend",
    ),
    Defect(
        name="forgotten-parent",
        description="a hop forgets which request and span it was made for, and how deep it is",
        service="backend",
    ),
    Defect(
        name="global-lock",
        description="one message at a time, and who has the lock looks after all who wait for it",
        service="backend",
    ),
    Defect(
        name="hop-scopes",
        description="a hop asks for all that its caller may do, and hands it on",
        service="backend",
    ),
    SchemaDefect(
        name="keys-without-owner",
        description="what users name is unique over all users",
        service="every",
        statements={
            "backend": ("alter table threads add unique (thread_id)",),
            "analytics": ("alter table usage_events add unique (usage_id)",),
        },
    ),
    Defect(
        name="literal-in-statement",
        description="content stands in the text of a statement",
        service="backend",
    ),
    Defect(
        name="log-content",
        description="a line for debugging, which says the message, was left in",
        service="backend",
    ),
    Defect(
        name="look-before-verify",
        description="a session is looked up before its token is verified",
        service="auth",
    ),
    Defect(
        name="outbox-forgets",
        description="usage is forgotten once Redis has taken it, before analytics has it",
        service="backend",
    ),
    Defect(
        name="path-operation",
        description="figures, lines and spans name an operation by the path that was asked for",
        service="backend",
    ),
    Defect(
        name="resume-off-by-one",
        description="a client that resumes misses the first event after the one that it has had",
        service="backend",
    ),
    Defect(
        name="scope-unasked",
        description="nobody asks what a token is for",
        service="analytics",
    ),
    Defect(
        name="session-cache-miss",
        description="a session that Redis does not remember is taken for one that never was",
        service="backend",
    ),
    Defect(
        name="session-in-process",
        description="each process remembers by itself which run a thread is in, and asks nobody",
        service="backend",
    ),
    Defect(
        name="session-key",
        description="the key of a remembered session lacks the thread",
        service="backend",
    ),
    Defect(
        name="silent-refusal",
        description="who is refused is told so, and it is neither counted nor logged",
        service="backend",
    ),
    Defect(
        name="span-context",
        description="a span says the context of the operation before it",
        service="analytics",
    ),
    Defect(
        name="stream-run",
        description="the stream's carrier keeps the first run that it was given",
        service="backend",
    ),
    Defect(
        name="subscription-outlives",
        description="who left a thread, or logged out, is sent its events all the same",
        service="backend",
    ),
    SchemaDefect(
        name="tables-unsecured",
        description="somebody has switched row-level security off, to find a fault, and left it",
        service="every",
        statements={
            "analytics": (_UNSECURE,),
            "auth": (_UNSECURE,),
            "backend": (_UNSECURE,),
        },
    ),
    Defect(
        name="transcript-before-commit",
        description="a transcript is cached with the message that is about to be committed",
        service="backend",
    ),
    Defect(
        name="token-outlives",
        description="a token for a hop lasts as long as such tokens do, whenever its user's ends",
        service="auth",
    ),
    Defect(
        name="trusted-header",
        description="the edge takes the request and the depth that a caller claims",
        service="backend",
    ),
    Defect(
        name="unbounded-buffer",
        description="whatever a client does not read is kept in the server's memory for it",
        service="backend",
    ),
    Defect(
        name="unchecked-run",
        description="a message continues whatever run it names, whether or not its thread has it",
        service="backend",
    ),
    Defect(
        name="unencoded-key",
        description="keys and channels are made by joining names as they come, without the user",
        service="backend",
    ),
    Defect(
        name="untyped-errors",
        description="the driver's words for a lost connection are told as a defect",
        service="backend",
    ),
    Defect(
        name="websocket-broadcast",
        description="events go to every connection of the process, for clients to pick theirs",
        service="backend",
    ),
)
"""Every deliberate defect that is no leak of the catalogue, by the suite that notices it."""


def defect_named(name: str) -> Defect:
    """The seeded leak or deliberate defect of that name.

    Raises:
        KeyError: there is none.
    """
    for defect in (*LEAKS, *DEFECTS):
        if defect.name == name:
            return defect
    raise KeyError(
        f"expected one of {', '.join(each.name for each in (*LEAKS, *DEFECTS))}; got {name!r}"
    )
