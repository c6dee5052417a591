import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from contracts.context import InvalidIdentifier, ThreadId
from integration.clients.answers import Refused, Unanswered, Unexpected
from integration.clients.auth import AuthClient
from integration.clients.backend import BackendClient
from integration.clients.connections import HttpConnections


class Server:
    """An HTTP server that gives one answer after the other, and keeps the requests."""

    def __init__(self, *answers: tuple[int, object]) -> None:
        self.answers = list(answers)
        self.requests: list[str] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one connection's requests while there are answers."""
        try:
            while self.answers:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                sizes = [line for line in head.lower().split("\r\n") if "content-length" in line]
                body = await reader.readexactly(int(sizes[0].split(":")[1])) if sizes else b""
                self.requests.append(head + body.decode())
                status, answer = self.answers.pop(0)
                encoded = b"" if answer is None else json.dumps(answer).encode()
                writer.write(
                    f"HTTP/1.1 {status} X\r\ncontent-length: {len(encoded)}\r\n"
                    "set-cookie: session=somebody\r\n\r\n".encode()
                    + encoded
                )
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def served(*answers: tuple[int, object]) -> AsyncIterator[Server]:
    """A running server on a free port of the loopback."""
    server = Server(*answers)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    async with listener:
        yield server


CREATED = {"thread_id": "t-1", "title": "a", "created_at": "2026-01-01T00:00:00Z"}


async def test_result_holds_the_answer_as_it_came() -> None:
    """A typed result gives the body, status and headers that it was read from."""
    async with served((201, CREATED)) as server, BackendClient(server.url, token="x") as backend:
        created = await backend.create_thread("a")

    assert ThreadId("t-1") == created.thread_id
    assert "201" == created.answer.status
    assert CREATED == json.loads(created.answer.body)
    assert "session=somebody" == created.answer.headers["set-cookie"]


async def test_operation_sends_its_token_and_trace() -> None:
    """Each operation has its own traceparent, beside the principal's token."""
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    async with served((201, CREATED)) as server, BackendClient(server.url, token="x") as backend:
        await backend.create_thread("a", traceparent=trace)

    assert "authorization: bearer x" in server.requests[0].lower()
    assert f"traceparent: {trace}" in server.requests[0].lower()


async def test_principals_that_share_connections_share_no_cookie() -> None:
    """A cookie that one principal's answer sets is not sent by another's client."""
    async with (
        served((201, CREATED), (201, CREATED)) as server,
        HttpConnections(server.url) as connections,
    ):
        await BackendClient(connections, token="alice").create_thread("a")
        await BackendClient(connections, token="bob").create_thread("b")

    assert 2 == len(server.requests)
    assert not any("somebody" in request for request in server.requests)


async def test_typed_error_is_a_refusal() -> None:
    """A refusal gives code, message, status and body, and says that nothing happened."""
    error = {"error": {"code": "NOT_FOUND", "message": "no such thread", "request_id": "r"}}
    async with served((404, error)) as server, BackendClient(server.url, token="x") as backend:
        with pytest.raises(Refused) as refused:
            await backend.messages(ThreadId("t"))

    assert ("NOT_FOUND", "no such thread") == (refused.value.code, refused.value.message)
    assert "404" == refused.value.answer.status
    assert refused.value.definite


@pytest.mark.parametrize("code", ["DEADLINE_EXCEEDED", "INTERNAL"])
async def test_refusal_that_tells_nothing_is_indefinite(code: str) -> None:
    """After a time-out or a failure inside, the operation may have happened."""
    error = {"error": {"code": code, "message": "?", "request_id": "r"}}
    async with served((504, error)) as server, BackendClient(server.url, token="x") as backend:
        with pytest.raises(Refused) as refused:
            await backend.create_thread("a")

    assert not refused.value.definite


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, {"detail": "x"}), (201, {"thread_id": "t"}), (201, {**CREATED, "thread_id": ""})],
)
async def test_answer_outside_of_the_contract_is_unexpected(status: int, body: object) -> None:
    """Neither an untyped failure nor a success without its fields passes for an answer."""
    async with served((status, body)) as server, BackendClient(server.url, token="x") as backend:
        with pytest.raises(Unexpected) as unexpected:
            await backend.create_thread("a")

    assert str(status) == unexpected.value.answer.status


async def test_silence_is_unanswered() -> None:
    """A server that takes a request and says nothing ends the operation at its limit."""
    async with served() as server:
        connections = HttpConnections(server.url, limit_seconds=0.2)
        async with connections:
            with pytest.raises(Unanswered):
                await AuthClient(connections).log_in("tenant", "ann", "password")


async def test_identifiers_in_a_path_are_encoded() -> None:
    """An identifier with a slash addresses nothing else."""
    async with (
        served((200, {"messages": []})) as server,
        BackendClient(server.url, token="x") as backend,
    ):
        await backend.messages(ThreadId("../users/me?x"))

    assert server.requests[0].startswith("GET /threads/..%2Fusers%2Fme%3Fx/messages ")


def test_absent_identifier_never_reaches_a_path() -> None:
    """What a serialised absence leaves behind cannot be addressed."""
    with pytest.raises(InvalidIdentifier):
        ThreadId("null")
