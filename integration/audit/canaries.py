"""Content canaries: tokens that tell whose they are and which operation planted them.

A canary is 24 characters of `[a-z0-9]`, so that it survives case folding, cutting at word borders
and every escaping: `wtc`, three characters for the seed, four for the owner's number, six for the
operation's, two for the slot, six of a checksum. Everything a finding needs stands in the token, so
that a checker needs no memory for each of them.
"""

import hashlib
import re
from typing import NamedTuple

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_PREFIX = "wtc"
_OWNER_WIDTH = 4
_OPERATION_WIDTH = 6
_SLOT_WIDTH = 2
_CHECK_WIDTH = 6
_TAG_WIDTH = 3
_OWNER_START = len(_PREFIX) + _TAG_WIDTH
_OPERATION_START = _OWNER_START + _OWNER_WIDTH
_SLOT_START = _OPERATION_START + _OPERATION_WIDTH
_CHECK_START = _SLOT_START + _SLOT_WIDTH

LENGTH = _CHECK_START + _CHECK_WIDTH
"""Characters of a canary."""

OWNERS_LIMIT = 36**_OWNER_WIDTH
"""How many owners can be told apart."""

OPERATIONS_LIMIT = 36**_OPERATION_WIDTH
"""How many operations can be told apart."""


class Canary(NamedTuple):
    """What a token says."""

    token: str
    owner: int
    """The number of the owner's scope in the history."""
    operation: int
    """The number of the operation that planted it."""
    slot: int
    """Which of the operation's values holds it."""


class CanaryMint:
    """Makes the canaries of one seed and recognises them again in text."""

    def __init__(self, seed: int) -> None:
        """Derive everything from the seed, so that two runs of it plant the same tokens."""
        self._key = hashlib.blake2b(str(seed).encode(), digest_size=32).digest()
        tag = _base36(int.from_bytes(self._key[:4], "big") % 36**_TAG_WIDTH, _TAG_WIDTH)
        self._start = _PREFIX + tag
        self._find = re.compile(
            f"{self._start}[a-z0-9]{{{LENGTH - len(self._start)}}}", re.ASCII
        ).findall

    def plant(self, owner: int, operation: int, slot: int = 0) -> str:
        """Make the canary for one value of an operation."""
        body = (
            self._start
            + _base36(owner, _OWNER_WIDTH)
            + _base36(operation, _OPERATION_WIDTH)
            + _base36(slot, _SLOT_WIDTH)
        )
        return body + self._check(body)

    def find(self, text: str) -> list[str]:
        """Find what looks like this seed's canaries, in one pass and whatever the case.

        Only `read` tells for certain, and costs more; look first, read what matters.
        """
        return self._find(text.lower())

    def read(self, token: str) -> Canary | None:
        """Decode a token; `None` for chance text that this mint did not make."""
        body = token[:_CHECK_START]
        if len(token) != LENGTH or not body.startswith(self._start):
            return None
        if token[_CHECK_START:] != self._check(body):
            return None
        return Canary(
            token,
            owner=self.owner_of(token),
            operation=int(token[_OPERATION_START:_SLOT_START], 36),
            slot=int(token[_SLOT_START:_CHECK_START], 36),
        )

    @staticmethod
    def owner_of(token: str) -> int:
        """Give the owner's number that a found token states, unverified."""
        return int(token[_OWNER_START:_OPERATION_START], 36)

    def _check(self, body: str) -> str:
        digest = hashlib.blake2b(body.encode(), key=self._key, digest_size=8).digest()
        return _base36(int.from_bytes(digest, "big") % 36**_CHECK_WIDTH, _CHECK_WIDTH)


def _base36(number: int, width: int) -> str:
    if not 0 <= number < 36**width:
        raise ValueError(f"{number} does not fit into {width} characters")
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 36)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
