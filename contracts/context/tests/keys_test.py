"""Keys are injective: different scopes or names never share one."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.context import ContextMissing, DataScope, TenantId, ThreadId, UserId
from contracts.context.keys import decode_parts, encode_parts, scoped_key, short_key
from contracts.context.tests.strategies import HOSTILE, data_scopes, free_text

_parts = st.lists(st.none() | free_text, max_size=4).map(tuple)


@given(_parts)
def test_encoding_can_be_undone(parts: tuple[str | None, ...]) -> None:
    """Every key gives its parts back, so no two inputs share one."""
    assert parts == decode_parts(encode_parts(*parts))


@given(st.text("-:,%0123456789aA", max_size=12) | st.text(max_size=8))
def test_only_the_encoding_of_some_parts_is_decoded(text: str) -> None:
    """A text is read as parts only where those parts are written as that very text."""
    parts = decode_parts(text)

    assert parts is None or text == encode_parts(*parts)


NOT_ENCODED = (
    *("a", "-,", ",-", "--", ":", "2:a", "1:ab", "01:a", "1:é", "3:%3a", "3:%61", "1:%"),
    "\N{ARABIC-INDIC DIGIT ONE}:a",
    "1:\ud800",
)


@pytest.mark.parametrize("text", NOT_ENCODED)
def test_what_no_parts_were_encoded_to_is_not_decoded(text: str) -> None:
    """Lengths that are off, letters that need no escape, other digits: nobody's parts."""
    assert None is decode_parts(text)


_inputs = st.tuples(st.text("abc", min_size=1, max_size=2), data_scopes(), _parts)
_Input = tuple[str, DataScope, tuple[str | None, ...]]


@given(_inputs, _inputs)
def test_different_inputs_have_different_keys(one: _Input, other: _Input) -> None:
    """Two keys are equal exactly when namespace, scope and names are."""
    for key in (scoped_key, short_key):
        keys = [key(namespace, scope, *names) for namespace, scope, names in (one, other)]

        assert (one == other) == (keys[0] == keys[1])


def test_hostile_scopes_all_differ() -> None:
    """Every pair of hostile identifiers as user and thread has a key of its own."""
    keys = [
        scoped_key("x", DataScope.thread(TenantId("t"), UserId(user), ThreadId(thread)))
        for user, thread in itertools.product(HOSTILE, HOSTILE)
    ]

    assert len(keys) == len(set(keys))


@given(data_scopes(), _parts)
def test_keys_hold_no_glob_or_space(scope: DataScope, names: tuple[str | None, ...]) -> None:
    """A key is printable ASCII without globs, quotes, braces or spaces, whatever its parts are."""
    key = scoped_key("x", scope, *names)

    assert key.isascii()
    assert key.isprintable()
    assert not set("*?[]{}'\" \\") & set(key)


def test_empty_and_absent_differ() -> None:
    """A name that is empty and one that is absent give different keys."""
    scope = DataScope.tenant(TenantId("t"))

    assert 3 == len(
        {scoped_key("x", scope), scoped_key("x", scope, ""), scoped_key("x", scope, None)}
    )


def test_a_key_needs_a_scope() -> None:
    """A key without a scope cannot be built."""
    with pytest.raises(ContextMissing, match="DataScope"):
        scoped_key("x", None)  # type: ignore[arg-type]


def test_short_keys_are_whole_digests() -> None:
    """A short key is a full SHA-256, not a cut."""
    assert 64 == len(short_key("x", DataScope.tenant(TenantId("t"))))
