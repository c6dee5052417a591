"""Identifier canaries: what the system issued, known by owner, and found again in any text.

An identifier is an arbitrary string, so no single pattern finds all of them. Text is cut into words
of letters and digits; each identifier is known by one of its words, the longest that no other is
known by (of a UUID, the last twelve hex digits). A text costs one pass and one set look-up for each
word, however many are known. What is found so is confirmed: the whole identifier stands there, on
word borders, and is not part of a longer known one.
"""

import re
from typing import NamedTuple

from integration.audit.errors import IdentifierError
from integration.audit.scopes import Scope

MINIMUM_LENGTH = 6
"""Characters below which a string is found by chance too often to tell its owner."""

_WORD_MINIMUM = 4
_words = re.compile(rf"[0-9A-Za-z]{{{_WORD_MINIMUM},}}").findall
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Identifier(NamedTuple):
    """One identifier as it was issued."""

    value: str
    kind: str
    owner: Scope
    operation: int | None = None
    """The operation whose answer brought it, where one did."""


class IdentifierIndex:
    """All identifiers that were issued so far."""

    def __init__(self) -> None:
        """Begin with none."""
        self._known: dict[str, Identifier] = {}
        self._anchored: dict[str, list[str]] = {}
        self._anchors: set[str] = set()
        self._wordless: list[str] = []
        self._wordless_pattern: re.Pattern[str] | None = None

    def add(self, identifier: Identifier) -> bool:
        """Register an identifier under its owner; false when it already belongs to another.

        The first owner keeps it: a system that hands one thread's identifier to another's owner
        shows a leak, and the answer that brought it is found out by it.
        """
        value = identifier.value
        if len(value) < MINIMUM_LENGTH:
            raise IdentifierError(identifier.kind, value, MINIMUM_LENGTH)
        known = self._known.get(value)
        if known is not None:
            return known.owner == identifier.owner
        for spelling in _spellings(value):
            self._known[spelling] = identifier
            self._anchor(spelling)
        return True

    def get(self, value: str) -> Identifier | None:
        """Look up one identifier."""
        return self._known.get(value)

    def find(self, text: str) -> list[str]:
        """Find what may be known identifiers in a text; `confirmed` tells for certain."""
        found = [
            value
            for word in self._anchors.intersection(_words(text))
            for value in self._anchored[word]
            if value in text
        ]
        if self._wordless:
            found.extend(self._compiled_wordless().findall(text))
        return found

    def confirmed(self, value: str, text: str) -> bool:
        """Tell whether an identifier stands in the text by itself, not within a longer word."""
        longer = [other for other in self.find(text) if value in other and other != value]
        covered = [span for other in longer for span in _spans(other, text)]
        return any(
            _on_word_borders(start, end, text)
            and not any(begin <= start and end <= stop for begin, stop in covered)
            for start, end in _spans(value, text)
        )

    def _anchor(self, value: str) -> None:
        words: list[str] = _words(value)
        if not words:
            self._wordless.append(value)
            self._wordless_pattern = None
            return
        anchor = min(words, key=lambda word: (len(self._anchored.get(word, ())), -len(word)))
        self._anchored.setdefault(anchor, []).append(value)
        self._anchors.add(anchor)

    def _compiled_wordless(self) -> re.Pattern[str]:
        if self._wordless_pattern is None:
            ordered = sorted(self._wordless, key=len, reverse=True)
            self._wordless_pattern = re.compile("|".join(map(re.escape, ordered)))
        return self._wordless_pattern


def _spellings(value: str) -> tuple[str, ...]:
    """Give the ways in which one identifier is commonly written."""
    return (value, value.replace("-", "")) if _UUID.fullmatch(value) else (value,)


def _spans(value: str, text: str) -> list[tuple[int, int]]:
    spans = []
    start = text.find(value)
    while start >= 0:
        spans.append((start, start + len(value)))
        start = text.find(value, start + 1)
    return spans


def _on_word_borders(start: int, end: int, text: str) -> bool:
    joined_before = start > 0 and text[start - 1].isalnum() and text[start].isalnum()
    joined_after = end < len(text) and text[end].isalnum() and text[end - 1].isalnum()
    return not (joined_before or joined_after)
