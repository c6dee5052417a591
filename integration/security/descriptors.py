"""Every gRPC method of a server, as its own reflection declares it, and bad messages for each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (  # type: ignore[import-untyped]
    ProtoReflectionDescriptorDatabase,
)

from integration.security.inputs import HOSTILE_TEXTS, MARKER

# What a varint holds: each is out of range for some type, and negative for others.
_VARINTS: Final = (0, 2, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 2**31, 2**64 - 1)
_VARINT_TYPES: Final = frozenset(
    {
        FieldDescriptor.TYPE_BOOL,
        FieldDescriptor.TYPE_ENUM,
        FieldDescriptor.TYPE_INT32,
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT32,
        FieldDescriptor.TYPE_UINT64,
    }
)
PLAIN: Final = "plain-text"
"""What every text is in a message that is not bad."""

_HUGE_BYTES: Final = 5_000_000
_LENGTH_DELIMITED: Final = 2
_DEPTH: Final = 3


@dataclass(frozen=True, slots=True)
class Method:
    """One method: `service` and `name` make its path."""

    service: str
    name: str
    descriptor: MethodDescriptor

    @property
    def path(self) -> str:
        """As it stands in the request (gRPC over HTTP/2, `:path`)."""
        return f"/{self.service}/{self.name}"


def methods(target: str) -> list[Method]:
    """Every method that a server declares."""
    with grpc.insecure_channel(target) as channel:
        database: Any = ProtoReflectionDescriptorDatabase(channel)
        pool: Any = DescriptorPool(database)
        return [
            Method(service, method.name, method)
            for service in database.get_services()
            for method in pool.FindServiceByName(service).methods
        ]


def bad_messages(descriptor: Descriptor) -> Iterator[tuple[str, bytes]]:
    """Bytes that are no message of this type, and messages that are and mean ill."""
    yield "empty", b""
    yield "garbage", MARKER.encode()
    yield "cut off", b"\x0a\x7f" + MARKER.encode()
    yield "endless varint", b"\x08" + b"\xff" * 11
    yield "deep groups", b"\x0b" * 10_000
    yield "unknown field", _delimited(2**28, MARKER.encode())
    yield "huge", _delimited(1, b"a" * _HUGE_BYTES)
    # Alone it may be refused for what is missing, before anybody looks at it.
    plain = plain_message(descriptor).SerializeToString()
    for what, encoded in bad_fields(descriptor):
        yield what, encoded
        yield f"{what}, the rest plain", plain + encoded


def bad_fields(descriptor: Descriptor, depth: int = _DEPTH) -> Iterator[tuple[str, bytes]]:
    """Every field at every depth with bytes that are none of its type, and values that mean ill.

    Each is an encoded message of that field alone. After another message it has the last word:
    protobuf merges what follows.

    Raises:
        NotImplementedError: nobody has said yet what is bad for a field's type.
    """
    for field in descriptor.fields:
        yield f"{field.name} garbage", _delimited(field.number, b"\xff\xfe" + MARKER.encode())
        if field.message_type is not None:
            # What is nested deeper than the depth is tried as garbage alone.
            for what, encoded in bad_fields(field.message_type, depth - 1) if depth > 1 else ():
                yield f"{field.name}.{what}", _delimited(field.number, encoded)
        else:
            for value, encoded in _values(field):
                yield f"{field.name} {value!r:.30}", encoded


def _values(field: FieldDescriptor) -> Iterator[tuple[object, bytes]]:
    if field.type == FieldDescriptor.TYPE_STRING:
        for text in HOSTILE_TEXTS:
            if "\ud800" not in text:  # what is no text at all is sent as garbage
                yield text, _delimited(field.number, text.encode())
    elif field.type == FieldDescriptor.TYPE_BYTES:
        for content in (b"", MARKER.encode(), MARKER.encode() * 2_000):
            yield content, _delimited(field.number, content)
    elif field.type in _VARINT_TYPES:
        for number in _VARINTS:
            yield number, _varint(field.number << 3) + _varint(number)
    else:
        raise NotImplementedError(f"{field.full_name}: say what is bad for its type")


def plain_message(descriptor: Descriptor, depth: int = _DEPTH) -> Any:
    """A message with a plain value in every field that is not repeated."""
    message: Any = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if field.is_repeated:
            continue
        if field.message_type is not None:
            getattr(message, field.name).SetInParent()
            if depth > 1:
                getattr(message, field.name).CopyFrom(plain_message(field.message_type, depth - 1))
        elif field.type == FieldDescriptor.TYPE_STRING:
            setattr(message, field.name, PLAIN)
        elif field.type == FieldDescriptor.TYPE_BYTES:
            setattr(message, field.name, PLAIN.encode())
        else:
            setattr(message, field.name, 1)
    return message


def _delimited(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number >= 0x80:  # noqa: PLR2004 -- the continuation bit
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*encoded, number))
