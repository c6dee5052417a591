"""Bad input for a value, by its JSON Schema (draft 2020-12, as OpenAPI 3.1 uses it)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Schema = Mapping[str, Any]

# Stands in every bad value that can hold it: no answer and no log may quote it.
MARKER: Final = "zqxhostileqxz"

HOSTILE_TEXTS: Final = (
    "",
    f"{MARKER}\x00",
    f"{MARKER}\r\nset-cookie: {MARKER}",
    f"../../{MARKER}",
    f"{MARKER}' OR '1'='1",
    f"{MARKER}%s%n{{}}",
    f"{MARKER}\ud800",
    f"{MARKER}\u202e\u2028",
    f"<script>{MARKER}</script>",
    f"{MARKER}*",
    "null",
    "undefined",
    MARKER * 2_000,
)
_WRONG_TYPES: Final[tuple[Any, ...]] = (
    None,
    True,
    -1,
    2**70,
    1.5,
    float(10**300),
    [MARKER],
    {MARKER: MARKER},
)
_DEPTH: Final = 100_000


@dataclass(frozen=True, slots=True)
class BadValue:
    """A value, and what is bad about it, in words."""

    what: str
    value: Any


class Schemas:
    """Resolves references within one document, and makes values that fit or do not."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def resolved(self, schema: Schema) -> Schema:
        """The schema that a reference names; of alternatives the first that is not null."""
        while True:
            if "$ref" in schema:
                schema = self._at(schema["$ref"])
            elif "anyOf" in schema:
                schema = next(each for each in schema["anyOf"] if each.get("type") != "null")
            else:
                return schema

    def good(self, schema: Schema) -> Any:
        """A value that fits, as plain as possible."""
        schema = self.resolved(schema)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return schema["enum"][0]
        kind = schema.get("type")
        if kind == "object":
            properties = schema.get("properties", {})
            return {name: self.good(properties[name]) for name in schema.get("required", ())}
        if kind == "array":
            return []
        plain = {"string": "plain-text", "integer": 1, "number": 1.0, "boolean": False}
        return plain.get(kind or "", "plain-text")

    def bad(self, schema: Schema) -> Iterator[BadValue]:
        """Values that do not fit, and values that fit and are hostile."""
        schema = self.resolved(schema)
        kind = schema.get("type")
        for value in _WRONG_TYPES:
            yield BadValue(f"{type(value).__name__} {value!r:.20}", value)
        for text in HOSTILE_TEXTS:
            yield BadValue(f"text {text!r:.40}", text)
        if kind == "object":
            yield from self._bad_objects(schema)

    def _bad_objects(self, schema: Schema) -> Iterator[BadValue]:
        whole = self.good(schema)
        properties = schema.get("properties", {})
        for name in whole:
            yield BadValue(f"without {name}", {k: v for k, v in whole.items() if k != name})
        yield BadValue("with an unknown field", {**whole, MARKER: MARKER})
        for name, each in properties.items():
            for bad in self.bad(each):
                yield BadValue(f"{name}: {bad.what}", {**copy.deepcopy(whole), name: bad.value})

    def _at(self, reference: str) -> Schema:
        found: Any = self._document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        schema: Schema = found
        return schema


def bad_documents() -> Sequence[tuple[str, bytes]]:
    """Bytes that are no JSON document that anybody should read."""
    return (
        ("nothing", b""),
        ("no JSON", MARKER.encode()),
        ("half a document", b'{"' + MARKER.encode()),
        ("no UTF-8", b'{"a": "\xff\xfe' + MARKER.encode() + b'"}'),
        ("UTF-16", f'{{"a": "{MARKER}"}}'.encode("utf-16")),
        ("deep", b"[" * _DEPTH),
        ("NaN", b'{"a": NaN}'),
        ("a name twice", b'{"type": "ping", "type": "' + MARKER.encode() + b'"}'),
        ("a long number", b'{"a": ' + b"9" * 5_000 + b"}"),
    )
