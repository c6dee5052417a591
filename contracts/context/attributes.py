"""The string attributes of a context: few, small, immutable, hashable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from contracts.context.errors import ContextMalformed, ContextOversized, quoted

# With six identifiers of 64 bytes and every scope, a context with so much more stays within 1 KiB.
MAXIMUM_ATTRIBUTES_BYTES = 384
_BYTES_FOR_EACH_PAIR = 8  # tags and lengths of a protobuf map entry


class Attributes(Mapping[str, str]):
    """String pairs that can neither be changed nor outgrow the context's limit.

    Raises:
        ContextMalformed: a key or value is no string, or a key is empty.
        ContextOversized: more than 384 bytes in all.
    """

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Mapping[str, str] | None = None) -> None:
        copied = dict(pairs or {})
        for key, value in copied.items():
            if not isinstance(key, str) or not isinstance(value, str) or not key:
                raise ContextMalformed(
                    "attributes",
                    f"expected strings with non-empty keys, got {quoted((key, value))}",
                )
        try:
            size = sum(
                len(key.encode()) + len(value.encode()) + _BYTES_FOR_EACH_PAIR
                for key, value in copied.items()
            )
        except UnicodeEncodeError as error:
            raise ContextMalformed("attributes", "expected text without surrogates") from error
        if size > MAXIMUM_ATTRIBUTES_BYTES:
            raise ContextOversized(
                "attributes", f"expected at most {MAXIMUM_ATTRIBUTES_BYTES} bytes, got {size}"
            )
        self._pairs = dict(sorted(copied.items()))

    def __getitem__(self, key: str) -> str:
        return self._pairs[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __hash__(self) -> int:
        return hash(tuple(self._pairs.items()))

    def __repr__(self) -> str:
        return f"Attributes({self._pairs!r})"
