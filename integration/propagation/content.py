"""What must never be logged, traced, counted or kept in a trail: content and credentials."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from dataclasses import dataclass, field

from contracts.context import ThreadId
from integration.clients.answers import ClientError
from integration.clients.auth import AuthClient
from integration.clients.backend import BackendClient
from integration.clients.backend_grpc import BackendGrpcClient
from integration.clients.connections import HttpConnections
from integration.clients.websocket import WebSocketTestClient
from integration.environment import Environment
from integration.fixtures.principals import Principals
from integration.propagation.evidence import marks, pages


@dataclass(slots=True)
class Secrets:
    """Words that nobody but their owner may see, by what each was."""

    words: dict[str, str] = field(default_factory=dict)

    def new(self, what: str) -> str:
        """A word that occurs nowhere else."""
        return self.words.setdefault(what, secrets.token_hex(10))

    def keep(self, what: str, value: str) -> str:
        """Takes a value for a secret, such as a token that was issued."""
        return self.words.setdefault(what, value)


async def speak(environment: Environment, principals: Principals, said: Secrets) -> ThreadId:
    """Says secret things in every place that takes a value, well and wrongly.

    Returns:
        the thread in which those lie that were taken.
    """
    administrator = await principals.administrator()
    login_name = f"{said.new('e-mail')}@example.org"
    person = await principals.user(administrator.tenant, login_name)
    said.keep("password", person.password)
    token = said.keep("access token", person.token)
    said.keep("refresh token", person.session.refresh_token)
    url, target = environment.backend_url, environment.backend_grpc_targets[0]
    async with (
        BackendClient(url, token=token) as http,
        BackendGrpcClient(target, token=token) as grpc,
    ):
        thread_id = (await http.create_thread(said.new("title"))).thread_id
        await grpc.create_thread(said.new("title over gRPC"))
        await http.send_message(thread_id, said.new("message"))
        await grpc.send_message(thread_id, said.new("message over gRPC"))
        await http.messages(thread_id)
        await http.thread_usage(thread_id)
        ticket = said.keep("ticket", (await http.websocket_ticket()).ticket)
        async with WebSocketTestClient(ticket=ticket, base_url=url) as socket:
            await socket.request_agent(thread_id, said.new("message over WebSocket"))
            async for attempt in _wrongly_over_websocket(socket, said):
                with suppress(ClientError):
                    await attempt
    async for attempt in _wrongly(environment, administrator.tenant, login_name, token, said):
        with suppress(ClientError):
            await attempt
    return thread_id


async def _wrongly(
    environment: Environment, tenant: str, login_name: str, token: str, said: Secrets
) -> AsyncIterator[Awaitable[object]]:
    """Requests that are refused, with something in each place that is wrong with it."""
    word = said.new
    async with HttpConnections(environment.backend_url) as http:
        path = f"/threads/{word('path')}"
        bodies: dict[str, object] = {
            "unknown field": {"message": "x", word("unknown field"): 1},
            "wrong type": {"message": [word("wrong type")]},
            "too long": {"message": word("too long") * 5_000},
            "unknown run": {"message": "x", "run_id": word("unknown run")},
        }
        for body in bodies.values():
            yield http.request("POST", f"{path}/messages", token=token, body=body)
        yield http.request("GET", f"/{word('unknown path')}", token=token)
        yield http.request("GET", f"/threads?{word('query')}=x", token=token)
        yield http.request("GET", "/threads", token=word("bad token"))
        yield http.request("GET", "/threads", token=token, traceparent=word("bad trace"))
    target = environment.backend_grpc_targets[0]
    async with BackendGrpcClient(target, token=word("bad token over gRPC")) as grpc:
        yield grpc.threads()
    async with BackendGrpcClient(target, token=token) as grpc:
        yield grpc.messages(ThreadId(word("path over gRPC")))
    async with AuthClient(environment.auth_url) as auth:
        yield auth.log_in(tenant, login_name, word("wrong password"))
        yield auth.log_in(tenant, f"{word('wrong e-mail')}@example.org", "x" * 12)
        yield auth.log_in(word("wrong tenant"), login_name, "x" * 12)
        yield auth.refresh(word("wrong refresh token"))


async def _wrongly_over_websocket(
    socket: WebSocketTestClient, said: Secrets
) -> AsyncIterator[Awaitable[object]]:
    word = said.new
    yield socket.subscribe(ThreadId(word("path over WebSocket")))
    yield socket.ask({"type": word("type of a frame")}, "none")
    yield socket.ask({"type": "ping", word("field of a frame"): 1}, "none")
    yield socket.ask_text(f'{{"type": "{word("no JSON")}"')


async def told(environment: Environment) -> dict[str, bytes]:
    """All that the system has told its operators, by where: logs, spans, figures, trails."""
    trail = [mark for mark in await marks(environment) if mark.kind == "trail"]
    return {
        **{
            f"log of {name}": process.log_path.read_bytes()
            for name, process in environment.supervisor.processes.items()
        },
        "spans": b"".join(environment.spans.exports),
        "figures": "".join(pages(environment).values()).encode(),
        "trails": "".join(str(mark.fields) for mark in trail).encode(),
    }
