"""Frames from clients: JSON texts, validated by the models of one registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.runtime.errors import InvalidArgument
from services.runtime.strict_json import parse_json
from services.runtime.text import Name


class MalformedFrame(InvalidArgument):
    """The text is no JSON, or the frame no text: its sender does not speak the protocol."""

    default_message = "frame: expected one JSON text"


class ClientFrame(BaseModel):
    """What every frame of a client may hold. An unknown field is refused, not ignored."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    traceparent: Annotated[str | None, Field(max_length=256)] = None
    """W3C Trace Context of this operation. It carries no authority; a malformed one is ignored."""


class Authenticate(ClientFrame):
    """The first frame, unless the URL held a ticket: an access token of auth."""

    type: Literal["authenticate"]
    token: Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[!-~]+$")]
    websocket_client_id: Name | None = None


F = TypeVar("F", bound=ClientFrame)


class FrameRegistry(Generic[F]):
    """The frames that are understood, by their `type`: name -> model."""

    def __init__(self, frames: Mapping[str, type[F]]) -> None:
        self.frames = dict(frames)

    def read(self, text: str) -> F:
        """The frame that a text says.

        Raises:
            MalformedFrame: it is no JSON.
            InvalidArgument: it is JSON and no frame of these; the words name the known field that
                is wrong and quote nothing of the sender's.
        """
        try:
            value = parse_json(text)
        except ValueError:
            raise MalformedFrame from None
        if not isinstance(value, dict):
            raise InvalidArgument("frame: expected a JSON object")
        kind = value.get("type")
        model = self.frames.get(kind) if isinstance(kind, str) else None
        if model is None:
            raise InvalidArgument(f"type: expected one of {', '.join(self.frames)}")
        try:
            return model.model_validate(value)
        except ValidationError as error:
            raise InvalidArgument(_reason(error)) from None


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "extra_forbidden":
        return "frame: expected no further fields"
    words = first["msg"].removeprefix("Value error, ")
    return f"{'.'.join(str(part) for part in first['loc'])}: {words}"
