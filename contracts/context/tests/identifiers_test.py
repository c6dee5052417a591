"""Identifiers are opaque, typed, bounded, and refused at creation when they are not."""

from __future__ import annotations

import pytest
from hypothesis import given

from contracts.context import InvalidIdentifier, ThreadId, UserId
from contracts.context.identifiers import require
from contracts.context.tests.strategies import names


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "\u2003",
        "x" * 65,
        "é" * 33,
        "a\x00b",
        "a\nb",
        "a\x7f",
        "a\u2028b",
        "\ud800",
        "None",
        "NONE",
        "null",
        "undefined",
        "NaN",
        None,
        7,
        b"bytes",
    ],
)
def test_refused_values_name_field_and_value(value: object) -> None:
    """A refused identifier's error carries its field and value and says what was expected."""
    with pytest.raises(InvalidIdentifier) as caught:
        UserId(value)  # type: ignore[arg-type]

    assert "user_id" == caught.value.field
    assert value is caught.value.value
    assert "expected" in str(caught.value)
    assert str(caught.value).isascii()


@given(names)
def test_accepted_values_are_kept_to_the_byte(name: str) -> None:
    """An identifier keeps its bytes: no trimming, folding or normalising."""
    assert name.encode() == UserId(name).encode()


def test_kinds_cannot_be_mixed() -> None:
    """An identifier of one kind is refused where another is expected, and so is a plain string."""
    for value in (UserId("u"), "u"):
        with pytest.raises(InvalidIdentifier, match="expected a ThreadId"):
            require(ThreadId, value)


@pytest.mark.parametrize(("one", "other"), [("a", "A"), ("é", "e\u0301"), ("x" * 63, "x" * 64)])
def test_twins_differ(one: str, other: str) -> None:
    """Case twins, Unicode twins and twins by length are different identifiers."""
    assert UserId(one) != UserId(other)
