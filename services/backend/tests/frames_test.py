"""How texts become frames, without a connection."""

from __future__ import annotations

import pytest

from contracts.context import ThreadId
from services.backend import frames
from services.backend.frames import CLIENT_FRAMES, CONVERSATION
from services.runtime.errors import InvalidArgument, NotFound
from services.runtime.websocket_frames import MalformedFrame


def test_the_registry_names_every_frame_by_its_type() -> None:
    """A frame's `type` is the name that it is registered under, and no field is optional in it."""
    for name, model in CLIENT_FRAMES.items():
        schema = model.model_json_schema()
        assert name == schema["properties"]["type"]["const"]
        assert "type" in schema["required"]
        assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ('{"type": "ping"}', frames.Ping(type="ping")),
        (
            '{"thread_id": "t", "type": "subscribe", "after_sequence": 0}',
            frames.Subscribe(type="subscribe", thread_id="t", after_sequence=0),
        ),
        (
            '{"type": "agent_request", "thread_id": "t", "message": "\\u00e9", "traceparent": "x"}',
            frames.AgentRequest(type="agent_request", thread_id="t", message="é", traceparent="x"),
        ),
    ],
)
def test_a_sound_text_is_its_frame(text: str, frame: frames.ConversationFrame) -> None:
    """Fields may come in any order; what is optional may be absent."""
    assert frame == CONVERSATION.read(text)


@pytest.mark.parametrize(
    "text", ["", "{", "NaN", '{"a": Infinity}', '{"a": 1, "a": 1}', "[" * 100_000, "1" * 10_000]
)
def test_what_is_no_json_is_malformed(text: str) -> None:
    """Also what Python would read: constants that are none, a name twice, endless nesting."""
    with pytest.raises(MalformedFrame):
        CONVERSATION.read(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "frame: expected a JSON object"),
        ('{"type": "pong"}', "type: expected one of subscribe, unsubscribe, agent_request, ping"),
        ('{"type": "authenticate", "token": "x"}', "type: expected one of subscribe, "),
        ('{"type": "ping", "canary": 1}', "frame: expected no further fields"),
        ('{"type": "subscribe"}', "thread_id: Field required"),
        ('{"type": "subscribe", "thread_id": "t", "after_sequence": "1"}', "after_sequence: "),
        ('{"type": "subscribe", "thread_id": "t", "after_sequence": true}', "after_sequence: "),
        ('{"type": "agent_request", "thread_id": "t", "message": "\\ud800"}', "message: "),
    ],
)
def test_what_is_no_frame_is_refused_by_the_field(text: str, words: str) -> None:
    """The refusal names the known field, and nothing that the sender wrote."""
    with pytest.raises(InvalidArgument) as refusal:
        CONVERSATION.read(text)

    assert refusal.value.message.startswith(words)
    assert "canary" not in refusal.value.message


def test_an_error_frame_quotes_the_service_alone() -> None:
    """Code, fixed words and the request's identifier."""
    assert {
        "type": "error",
        "code": "NOT_FOUND",
        "message": "there is no such object",
        "request_id": "r",
    } == frames.error(NotFound(), "r")
    assert {"type": "unsubscribed", "thread_id": "t"} == frames.unsubscribed(ThreadId("t"))
