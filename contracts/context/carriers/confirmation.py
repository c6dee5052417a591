"""Confirmations: what a consumer tells of an entry that it is done with, and to whom it belonged.

Identifiers only, and no authority: whoever holds the entry learns that it may let go of it. They
are the entry's own, not those that the work was done under, so that the entry at hand is the one
that is confirmed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from google.protobuf.message import DecodeError

from contracts.context.carriers.entry import ENTRY_FIELD, MAXIMUM_ENTRY_BYTES
from contracts.context.errors import ContextError, ContextMalformed, ContextMissing
from contracts.context.identifiers import TenantId, UserId
from watertight.events.v1.usage_pb2 import UsageEntry

MAXIMUM_USAGE_ID_BYTES: Final = 64
_FIELDS: Final = ("tenant_id", "user_id", "usage_id", "outcome")


@unique
class Outcome(StrEnum):
    """How an entry ended: its effect is stored, or it never will be."""

    STORED = "stored"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The usage of one user that a consumer is done with."""

    tenant_id: TenantId
    user_id: UserId
    usage_id: str
    outcome: Outcome


def confirmation_of(fields: Mapping[bytes, bytes], outcome: Outcome) -> Confirmation | None:
    """The confirmation of a stream entry; `None` where the entry does not say whose it is.

    It asks for less than `read_entry`: what is dead is confirmed as well, if it can be named.
    """
    encoded = fields.get(ENTRY_FIELD.encode(), b"")
    if len(encoded) > MAXIMUM_ENTRY_BYTES:
        return None
    try:
        entry = UsageEntry.FromString(encoded)
        return _checked(
            entry.context.tenant_id, entry.context.user_id, entry.event.usage_id, outcome
        )
    except (DecodeError, ContextError):
        return None


def write_confirmation(confirmation: Confirmation) -> dict[str, str]:
    """The fields of a stream entry."""
    return {name: str(getattr(confirmation, name)) for name in _FIELDS}


def read_confirmation(fields: Mapping[bytes, bytes]) -> Confirmation:
    """The confirmation that a stream entry's fields hold.

    Raises:
        ContextError: a field is absent, or is none.
    """
    texts: dict[str, str] = {}
    for name in _FIELDS:
        if (value := fields.get(name.encode())) is None:
            raise ContextMissing(name, "expected it in a confirmation")
        try:
            texts[name] = value.decode()
        except UnicodeDecodeError as error:
            raise ContextMalformed(name, "expected UTF-8") from error
    try:
        outcome = Outcome(texts["outcome"])
    except ValueError as error:
        raise ContextMalformed("outcome", f"expected one of {', '.join(Outcome)}") from error
    return _checked(texts["tenant_id"], texts["user_id"], texts["usage_id"], outcome)


def _checked(tenant_id: str, user_id: str, usage_id: str, outcome: Outcome) -> Confirmation:
    if not 1 <= len(usage_id.encode()) <= MAXIMUM_USAGE_ID_BYTES or "\0" in usage_id:
        raise ContextMalformed("usage_id", "expected 1 to 64 bytes without NUL")
    return Confirmation(TenantId(tenant_id), UserId(user_id), usage_id, outcome)
