from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from services.runtime.errors import InvalidArgument
from services.runtime.text import Content, Name, Sequence64, check_text

_NAME: TypeAdapter[str] = TypeAdapter(Name)
_CONTENT: TypeAdapter[str] = TypeAdapter(Content)


@pytest.mark.parametrize("value", ["a", "Ünïcode", "x" * 64, "é" * 32, "a b"])
def test_names(value: str) -> None:
    """A name of up to 64 bytes in one line stays as it is."""
    assert value == _NAME.validate_python(value)
    assert value == check_text("title", value, 64, one_line=True)


@pytest.mark.parametrize(
    "value",
    ["", " ", "x" * 65, "é" * 33, "a\nb", "a\x00", "a\x7f", "\u2028", "\ud800", "a\u0085b"],
)
def test_texts_that_are_no_names(value: str) -> None:
    """What is too long, of several lines, or cannot be seen or stored is no name."""
    with pytest.raises(ValidationError):
        _NAME.validate_python(value)
    with pytest.raises(InvalidArgument, match=r"^INVALID_ARGUMENT: title: "):
        check_text("title", value, 64, one_line=True)


def test_content_has_lines() -> None:
    """Content may have lines and tabs, and 16 KiB of them."""
    for value in ("a\n\tb", "x" * 16384, "é" * 8192):
        assert value == _CONTENT.validate_python(value)


@pytest.mark.parametrize("value", ["", "\n", "x" * 16385, "é" * 8193, "a\x00b", "\udfff"])
def test_texts_that_are_no_content(value: str) -> None:
    """What is empty, too long, or cannot be stored is no content."""
    with pytest.raises(ValidationError):
        _CONTENT.validate_python(value)


@given(st.text(st.characters(codec=None, categories=None)))
def test_accepted_content_can_be_stored(value: str) -> None:
    """Whatever is accepted encodes to UTF-8 within the limit, without NUL."""
    try:
        accepted = check_text("content", value, 64)
    except InvalidArgument:
        return

    assert len(accepted.encode()) <= 64
    assert "\x00" not in accepted


def test_sequence_numbers_fit_their_columns() -> None:
    """From 0 to what a bigint holds."""
    numbers: TypeAdapter[int] = TypeAdapter(Sequence64)

    assert 2**63 - 1 == numbers.validate_python(2**63 - 1)
    for wrong in (-1, 2**63):
        with pytest.raises(ValidationError):
            numbers.validate_python(wrong)
