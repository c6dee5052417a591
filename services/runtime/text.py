"""Text from outside: bounded in bytes, storable in Postgres, and of one line where it is a name."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from services.runtime.errors import InvalidArgument

MAXIMUM_NAME_BYTES: Final = 64
MAXIMUM_CONTENT_BYTES: Final = 16 * 1024
MAXIMUM_SEQUENCE: Final = 2**63 - 1
_ONE_LINE_REFUSES: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})


def _reason_to_refuse(value: str, maximum_bytes: int, *, one_line: bool) -> str | None:
    # Characters first: encoding text of any length, or with lone surrogates, would be too late.
    if len(value) > maximum_bytes:
        return f"expected at most {maximum_bytes} bytes of UTF-8"
    if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
        return "expected no NUL characters and no surrogates"
    if len(value.encode()) > maximum_bytes:
        return f"expected at most {maximum_bytes} bytes of UTF-8"
    if not value.strip():
        return "expected at least one visible character"
    if one_line and any(unicodedata.category(c) in _ONE_LINE_REFUSES for c in value):
        return "expected one line without control characters"
    return None


def check_text(field: str, value: str, maximum_bytes: int, *, one_line: bool = False) -> str:
    """The value itself, when it may be stored.

    Raises:
        InvalidArgument: naming the field and what was expected, not the value.
    """
    if (reason := _reason_to_refuse(value, maximum_bytes, one_line=one_line)) is not None:
        raise InvalidArgument(f"{field}: {reason}")
    return value


def _validator(maximum_bytes: int, *, one_line: bool) -> AfterValidator:
    def validate(value: str) -> str:
        if (reason := _reason_to_refuse(value, maximum_bytes, one_line=one_line)) is not None:
            raise ValueError(reason)
        return value

    return AfterValidator(validate)


Name = Annotated[
    str,
    Field(min_length=1, max_length=MAXIMUM_NAME_BYTES),
    _validator(MAXIMUM_NAME_BYTES, one_line=True),
]
"""1 to 64 bytes in one line."""

Content = Annotated[
    str,
    Field(min_length=1, max_length=MAXIMUM_CONTENT_BYTES),
    _validator(MAXIMUM_CONTENT_BYTES, one_line=False),
]
"""1 byte to 16 KiB of any text but NUL."""

Sequence64 = Annotated[int, Field(ge=0, le=MAXIMUM_SEQUENCE)]
"""A sequence number, as Postgres' bigint and protobuf's int64 hold it."""


class RequestBody(BaseModel):
    """A JSON object from outside: its fields, of just their types, and no others."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)
