"""How values may be written where they travel: every view of a text in which canaries are sought.

A further encoding (base64, compressed bodies) is one more function in `_DECODERS`.
"""

import re
from collections.abc import Callable
from urllib.parse import unquote

_JSON_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_JSON_LETTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}

_DEPTH_LIMIT = 3
"""JSON within JSON within JSON: a log line that holds a body that holds a document."""


def views(text: str) -> list[str]:
    """Give the text as it is, and decoded as often as that changes it (at most three times).

    Most texts hold neither a backslash nor a percent sign, and cost two look-ups.
    """
    found = [text]
    for marker, decode in _DECODERS:
        if marker not in text:
            continue
        decoded = text
        for _ in range(_DEPTH_LIMIT):
            before, decoded = decoded, decode(decoded)
            if decoded == before:
                break
            found.append(decoded)
    return found


def json_unescaped(text: str) -> str:
    r"""Undo JSON's escapes (RFC 8259, section 7): `\n`, `\/`, `\u0041`, surrogate pairs."""
    decoded = _JSON_ESCAPE.sub(_json_character, text)
    return decoded.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _json_character(match: re.Match[str]) -> str:
    if match[1]:
        return chr(int(match[1], 16))
    return _JSON_LETTERS.get(match[2], match[2])


def percent_decoded(text: str) -> str:
    """Undo percent-encoding (RFC 3986, section 2.1)."""
    return unquote(text, errors="replace")


_DECODERS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("\\", json_unescaped),
    ("%", percent_decoded),
)


def as_text(data: str | bytes) -> str:
    """Give bytes as text that a history can hold: UTF-8, with what is not written as escapes."""
    return data if isinstance(data, str) else data.decode("utf-8", "backslashreplace")
