"""Identifiers as an adversary would choose them, and contexts made of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from contracts.context import (
    Attributes,
    ClientLabel,
    DataScope,
    InvalidIdentifier,
    RequestId,
    RunId,
    Scope,
    TenantId,
    ThreadId,
    UserExecutionContext,
    UserId,
)

# Delimiters, globs, case twins, Unicode forms (NFC and NFD of one letter, an invisible joiner),
# twins that differ in the 64th byte alone, and what our own encoding uses and makes.
HOSTILE = [
    "a",
    "A",
    "a:b",
    "a,b",
    "a|b",
    "a/b",
    "a b",
    "-",
    "--",
    "0:",
    "1:a",
    "1:a,1:b",
    "%3A",
    "%",
    "*",
    "a*",
    "?",
    "[a-z]",
    "{tag}",
    "..",
    "'; drop table threads; --",
    "\u00e9",
    "e\u0301",
    "\u212b",
    "\u00c5",
    "ß",
    "ss",
    "a\u200d",
    "x" * 63,
    "x" * 64,
    "x" * 63 + "y",
    "é" * 32,
]

_text = st.text(
    alphabet=st.one_of(
        st.sampled_from(":,|/*?[]{}%-0123456789aAbB'\"\\ é"),
        st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]),
    ),
    min_size=1,
    max_size=64,
)


def _valid(value: str) -> bool:
    try:
        UserId(value)
    except InvalidIdentifier:
        return False
    return True


names = st.one_of(st.sampled_from(HOSTILE), _text).filter(_valid)
free_text = st.one_of(st.just(""), names)

_now = datetime(2026, 1, 1, tzinfo=UTC)


@st.composite
def data_scopes(draw: st.DrawFn) -> DataScope:
    """A scope of any kind."""
    tenant, user, thread = TenantId(draw(names)), UserId(draw(names)), ThreadId(draw(names))
    return draw(
        st.sampled_from(
            [
                DataScope.login(draw(names)),
                DataScope.login(draw(names), tenant),
                DataScope.user(tenant, user),
                DataScope.thread(tenant, user, thread),
                DataScope.tenant(tenant),
                DataScope.system(tenant),
            ]
        )
    )


@st.composite
def contexts(draw: st.DrawFn) -> UserExecutionContext:
    """A valid context, with and without its optional parts."""
    thread = draw(st.none() | names.map(ThreadId))
    depth = draw(st.integers(0, 10))
    request = draw(names)
    parent = draw(names.filter(lambda name: name != request)) if depth else None
    issued = _now + timedelta(microseconds=draw(st.integers(0, 10**12)))
    return UserExecutionContext(
        tenant_id=TenantId(draw(names)),
        user_id=UserId(draw(names)),
        thread_id=thread,
        run_id=None if thread is None else draw(st.none() | names.map(RunId)),
        request_id=RequestId(request),
        parent_request_id=None if parent is None else RequestId(parent),
        operation_depth=depth,
        websocket_client_id=draw(st.none() | names.map(ClientLabel)),
        scopes=draw(st.frozensets(st.sampled_from(Scope))),
        issued_at=issued,
        expires_at=issued + timedelta(microseconds=draw(st.integers(1, 10**9))),
        attributes=Attributes(
            draw(
                st.dictionaries(
                    st.text("ab:", min_size=1, max_size=8), st.text("ab é", max_size=8), max_size=4
                )
            )
        ),
    )
