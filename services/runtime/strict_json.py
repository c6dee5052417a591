"""The one way in which JSON from outside is read: RFC 8259, and what it only advises is a rule."""

from __future__ import annotations

import json
from typing import NoReturn


def parse_json(text: str | bytes) -> object:
    """The value of a JSON text; bytes are UTF-8. A name twice in one object is refused.

    Raises:
        ValueError: it is none. The words may quote it: they are for nobody outside.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    try:
        value: object = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")
