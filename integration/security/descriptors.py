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

_INTEGERS: Final = {
    FieldDescriptor.TYPE_INT64: (-(2**63), -1, 2**63 - 1),
    FieldDescriptor.TYPE_INT32: (-(2**31), -1, 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: (2**32 - 1,),
    FieldDescriptor.TYPE_ENUM: (-1, 2**31 - 1),
}
_HUGE_BYTES: Final = 5_000_000
_LENGTH_DELIMITED: Final = 2


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
    for field in descriptor.fields:
        yield f"{field.name} not UTF-8", _delimited(field.number, b"\xff\xfe" + MARKER.encode())
        for value in _values(field):
            yield f"{field.name} {value!r:.30}", _message(descriptor, field, value)


def _values(field: FieldDescriptor) -> Iterator[object]:
    if field.type == FieldDescriptor.TYPE_STRING:
        yield from (text for text in HOSTILE_TEXTS if text.isascii() or "\ud800" not in text)
    else:
        yield from _INTEGERS.get(field.type, ())


def _message(descriptor: Descriptor, field: FieldDescriptor, value: object) -> bytes:
    message: Any = GetMessageClass(descriptor)()
    if field.is_repeated:
        getattr(message, field.name).append(value)
    else:
        setattr(message, field.name, value)
    encoded: bytes = message.SerializeToString()
    return encoded


def _delimited(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number >= 0x80:  # noqa: PLR2004 -- the continuation bit
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*encoded, number))
