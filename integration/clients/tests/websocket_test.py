import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from contracts.context import ThreadId
from integration.clients.answers import Refused, Unanswered, Unexpected
from integration.clients.websocket import WebSocketTestClient

Frame = dict[str, Any]
THREAD = ThreadId("thread-1")


def event(sequence: int, kind: str = "agent_thinking", thread: str = THREAD) -> Frame:
    """An event frame."""
    return {
        "type": kind,
        "thread_id": thread,
        "run_id": "run",
        "request_id": "request",
        "sequence": sequence,
        "content": "",
        "created_at": "2026-01-01T00:00:00Z",
    }


class Server:
    """A WebSocket server that answers each type of frame by a table, and keeps what came."""

    def __init__(self, answers: dict[str, Callable[[Frame], list[Frame] | int]]) -> None:
        self.answers = answers
        self.frames: list[Frame] = []
        self.paths: list[str] = []
        self.url = ""

    async def handle(self, connection: ServerConnection) -> None:
        """Answers one connection's frames; a number in the table closes it."""
        request = connection.request
        assert request is not None
        self.paths.append(request.path)
        if "ticket" in request.path:
            await connection.send(json.dumps({"type": "ready", "connection_id": "c"}))
        try:
            async for text in connection:
                frame = json.loads(text)
                self.frames.append(frame)
                answer = self.answers[frame["type"]](frame)
                if isinstance(answer, int):
                    await connection.close(answer, "no")
                    return
                for each in answer:
                    await connection.send(json.dumps(each))
        except ConnectionClosed:
            pass


@asynccontextmanager
async def served(**answers: Callable[[Frame], list[Frame] | int]) -> AsyncIterator[Server]:
    """A running server that admits everybody, unless `authenticate` is among its answers."""
    admit: dict[str, Callable[[Frame], list[Frame] | int]] = {
        "authenticate": lambda _: [{"type": "ready", "connection_id": "connection-1"}]
    }
    server = Server({**admit, **answers})
    async with serve(server.handle, "127.0.0.1", 0) as listener:
        server.url = f"http://127.0.0.1:{next(iter(listener.sockets)).getsockname()[1]}"
        yield server


async def test_first_frame_carries_the_token() -> None:
    """The token goes in the first frame, never in the URL."""
    async with (
        served() as server,
        WebSocketTestClient(token="secret", base_url=server.url, client_id="tab") as client,
    ):
        assert "connection-1" == client.connection_id

    first = {"type": "authenticate", "token": "secret", "websocket_client_id": "tab"}
    assert [first] == server.frames
    assert ["/ws"] == server.paths


async def test_ticket_stands_in_the_url() -> None:
    """With a ticket there is no first frame."""
    async with (
        served() as server,
        WebSocketTestClient(ticket="t 1", base_url=server.url, client_id="tab"),
    ):
        pass

    assert [] == server.frames
    assert ["/ws?ticket=t+1&client_id=tab"] == server.paths


async def test_refused_admission_raises_with_the_close_code() -> None:
    """A server that closes instead of admitting is a refusal."""
    async with served(authenticate=lambda _: 4401) as server:
        with pytest.raises(Refused) as refused:
            async with WebSocketTestClient(token="x", base_url=server.url):
                pass

    assert ("UNAUTHENTICATED", "4401") == (refused.value.code, refused.value.answer.status)


async def test_no_server_is_unanswered() -> None:
    """Where nothing listens, nothing was refused."""
    with pytest.raises(Unanswered):
        async with WebSocketTestClient(token="x", base_url="http://127.0.0.1:1"):
            pass


async def test_events_and_answers_are_kept_apart() -> None:
    """Events that come before an acknowledgement are collected later, in order."""
    acknowledged = {
        "type": "acknowledged",
        "thread_id": THREAD,
        "run_id": "run",
        "request_id": "request",
        "sequence": 2,
    }
    answer = [event(1), acknowledged, event(2, "agent_completed")]
    async with (
        served(agent_request=lambda _: answer) as server,
        WebSocketTestClient(token="x", base_url=server.url) as client,
    ):
        given = await client.request_agent(THREAD, "hello", traceparent="trace")
        events = await client.collect_events(timeout=5.0, until="agent_completed")

    assert 2 == given.sequence
    assert [1, 2] == [each["sequence"] for each in events]
    assert "trace" == server.frames[-1]["traceparent"]


async def test_collecting_ends_at_its_limit() -> None:
    """Without an end to wait for, events are collected for as long as was asked."""
    async with (
        served() as server,
        WebSocketTestClient(token="x", base_url=server.url) as client,
    ):
        events = await client.collect_events(timeout=0.05)

    assert [] == events


async def test_error_frame_is_a_refusal_and_the_connection_lives() -> None:
    """An error frame refuses one request, not the connection."""
    error = {"type": "error", "code": "NOT_FOUND", "message": "none", "request_id": "r"}
    async with (
        served(subscribe=lambda _: [error], ping=lambda _: [{"type": "pong"}]) as server,
        WebSocketTestClient(token="x", base_url=server.url) as client,
    ):
        with pytest.raises(Refused) as refused:
            await client.subscribe(THREAD)
        pong = await client.ask({"type": "ping"}, "pong")

    assert "NOT_FOUND" == refused.value.code
    assert b'{"type": "pong"}' == pong.body


async def test_frame_of_another_type_is_unexpected() -> None:
    """An answer to something else does not pass for this one's."""
    async with (
        served(ping=lambda _: [{"type": "subscribed"}]) as server,
        WebSocketTestClient(token="x", base_url=server.url) as client,
    ):
        with pytest.raises(Unexpected):
            await client.ask({"type": "ping"}, "pong")


async def test_silence_is_unanswered_and_closes() -> None:
    """A late answer cannot be taken for the next request's."""
    async with (
        served(ping=lambda _: []) as server,
        WebSocketTestClient(token="x", base_url=server.url, limit_seconds=0.2) as client,
    ):
        with pytest.raises(Unanswered):
            await client.ask({"type": "ping"}, "pong")

        assert client.closed


async def test_reconnected_client_resumes_after_the_last_event() -> None:
    """Each thread goes on after the newest event that was seen of it."""
    subscribed = [{"type": "subscribed", "thread_id": THREAD, "head_sequence": 3}]
    async with (
        served(subscribe=lambda _: [*subscribed, event(4), event(5)]) as server,
        WebSocketTestClient(token="x", base_url=server.url) as client,
    ):
        await client.subscribe(THREAD)
        await client.collect_events(timeout=5.0, until=lambda events: len(events) == 2)
        await client.reconnect()

    resumed = {"type": "subscribe", "thread_id": THREAD, "after_sequence": 5}
    assert resumed == server.frames[-1]


async def test_every_frame_can_be_read_as_text() -> None:
    """An observer sees each frame as it came, control frames too, until the connection ends."""
    async with (
        served(ping=lambda _: [event(1), {"type": "pong"}]) as server,
        WebSocketTestClient(token="x", base_url=server.url) as client,
    ):
        await client.ask({"type": "ping"}, "pong")
        reading = asyncio.create_task(_texts(client))
        await client.close()
        texts = await reading

    assert ["ready", "agent_thinking", "pong"] == [json.loads(text)["type"] for text in texts]


async def _texts(client: WebSocketTestClient) -> list[str]:
    return [text async for text in client.texts()]


async def test_server_that_closes_is_noticed() -> None:
    """The code of the close is kept."""
    async with (
        served(ping=lambda _: 1013) as server,
        WebSocketTestClient(token="x", base_url=server.url) as client,
    ):
        await client.send_json({"type": "ping"})

        assert 1013 == await client.wait_closed(timeout=5.0)
