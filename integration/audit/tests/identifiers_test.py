"""Identifiers are found in any text, told from look-alikes, and keep their first owner."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.audit.errors import IdentifierError
from integration.audit.identifiers import Identifier, IdentifierIndex
from integration.audit.scopes import Scope

FIRST = Scope("t", "u", "a")
SECOND = Scope("t", "u", "b")


def index_of(*values: str) -> IdentifierIndex:
    """Give an index that knows the values."""
    index = IdentifierIndex()
    for value in values:
        index.add(Identifier(value, "thread", FIRST))
    return index


def confirmed(index: IdentifierIndex, text: str) -> set[str]:
    """Give what certainly stands in a text."""
    return {value for value in index.find(text) if index.confirmed(value, text)}


separators = st.text(alphabet=" \t,;:/=\"'{}[]()|.-_&?<>\n", min_size=1, max_size=5)


@given(uuids=st.lists(st.uuids(), min_size=1, max_size=20, unique=True), separator=separators)
def test_uuids_are_found_among_anything(uuids: list[UUID], separator: str) -> None:
    """Each of many is found, however they are separated."""
    values = [str(uuid) for uuid in uuids]
    index = index_of(*values)

    assert set(values) == confirmed(index, separator.join(["", *values, ""]))


@given(uuid=st.uuids())
def test_a_uuid_is_found_without_its_dashes(uuid: UUID) -> None:
    """Both common spellings are one identifier."""
    index = index_of(str(uuid))

    assert {uuid.hex} == confirmed(index, f"thread={uuid.hex}")
    identifier = index.get(uuid.hex)
    assert identifier is not None
    assert str(uuid) == identifier.value


@given(
    value=st.text(min_size=6, max_size=64).filter(lambda text: text.strip() == text),
    separator=separators,
)
def test_any_string_can_be_an_identifier(value: str, separator: str) -> None:
    """Delimiters, globs, other alphabets: what was issued is found again."""
    index = index_of(value)

    assert value in index.find(f"{separator}{value}{separator}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("thread-1", {"thread-1"}),
        ("thread-10", set()),
        ("xthread-1", set()),
        ("thread-1-extra", {"thread-1-extra"}),
        ("thread-1-extra thread-1", {"thread-1-extra", "thread-1"}),
        ("Thread-1", set()),
        ("wt:thread-1:x", {"thread-1"}),
    ],
)
def test_look_alikes_are_told_apart(text: str, expected: set[str]) -> None:
    """Prefixes, longer words and case twins are other identifiers."""
    assert expected == confirmed(index_of("thread-1", "thread-1-extra"), text)


def test_the_first_owner_keeps_an_identifier() -> None:
    """The second owner is told that it is taken."""
    index = index_of("abcdef")

    assert not index.add(Identifier("abcdef", "thread", SECOND))
    assert index.add(Identifier("abcdef", "thread", FIRST))
    identifier = index.get("abcdef")
    assert identifier is not None
    assert identifier.owner == FIRST


def test_short_identifiers_are_refused() -> None:
    """What chance finds tells nothing."""
    with pytest.raises(IdentifierError, match="user identifier '12345' has under 6"):
        IdentifierIndex().add(Identifier("12345", "user", FIRST))
