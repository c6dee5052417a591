import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from integration.environment import Environment
from integration.security.inputs import HOSTILE_TEXTS, MARKER, Schemas, bad_documents
from integration.security.judging import http_faults
from integration.security.routes import METHODS, Route, routes
from integration.security.stage import People

pytestmark = pytest.mark.usefixtures("unharmed")

TOO_LARGE_BYTES = 100_000
TOO_LARGE = 413
CREDENTIALS: tuple[tuple[str, list[tuple[str, str]]], ...] = (
    ("none", []),
    ("empty", [("authorization", "")]),
    ("no token", [("authorization", "Bearer")]),
    ("Basic", [("authorization", f"Basic {MARKER}")]),
    ("no JWT", [("authorization", f"Bearer {MARKER}")]),
    ("JWT of nobody", [("authorization", f"Bearer e30.e30.{MARKER}")]),
    ("oversized", [("authorization", f"Bearer {MARKER * 1000}")]),
    ("two", [("authorization", f"Bearer {MARKER}"), ("authorization", f"Bearer {MARKER}")]),
    ("context from outside", [("x-execution-context-bin", MARKER), ("txn-token", MARKER)]),
)


class Sender:
    """Sends bad input, and keeps what was wrong with the answers."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.faults: list[str] = []
        self.refused = 0
        self.answered = 0

    async def send(
        self,
        what: str,
        route: Route,
        url: str | None = None,
        *,
        may_be_cut_off: bool = False,
        **more: Any,
    ) -> int:
        """One request; gives the status, 0 where there was no answer."""
        try:
            response = await self._client.request(
                route.method, route.filled() if url is None else url, **more
            )
        except httpx.HTTPError as error:
            # Who goes on writing far beyond the limit may be cut off (RFC 9110, section 15.5.14).
            if not (may_be_cut_off and isinstance(error, httpx.NetworkError)):
                self.faults.append(f"{route}, {what}: no answer: {error!r}")
            return 0
        self.answered += 1
        self.refused += response.is_client_error
        self.faults += [f"{route}, {what}: {fault}" for fault in http_faults(response)]
        return response.status_code


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    """A sender over connections of its own."""
    async with httpx.AsyncClient(trust_env=False, timeout=10.0) as client:
        yield Sender(client)


async def credential(environment: Environment, people: People, route: Route) -> dict[str, str]:
    """What gets a request past the route's boundary."""
    if route.path.startswith("/operator"):
        token = environment.credentials.operator_secret
    else:
        needs_head = route.path.startswith("/users") or "totals" in route.path
        person = people.administrator if needs_head else people.member
        token = await people.token_of(person)
    return {"authorization": f"Bearer {token}"}


async def test_every_service_declares_its_routes(environment: Environment) -> None:
    """The enumeration is not empty, so the other tests are about something."""
    found = {str(route) for route in await routes(environment)}

    assert {"POST /login", "POST /threads", "GET /usage/totals", "GET /health"} <= found


async def test_route_refuses_every_bad_credential(environment: Environment, sender: Sender) -> None:
    """No route that asks for a credential serves without one, or with a bad one."""
    served = []
    for route in await routes(environment):
        if route.secured:
            for what, headers in CREDENTIALS:
                if await sender.send(what, route, headers=headers) not in (400, 401):
                    served.append(f"{route}, {what}")

    assert [] == sender.faults
    assert [] == served
    assert sender.answered > 50


async def test_route_refuses_every_bad_body(
    environment: Environment, people: People, sender: Sender
) -> None:
    """Each field of each body, with every kind of value that it is not, or is and means ill."""
    unrefused = []
    for route in await routes(environment):
        if route.body is None:
            continue
        headers = await credential(environment, people, route)
        before = sender.refused
        for bad in route.schemas.bad(route.body):
            content = _json(bad.value)
            await sender.send(bad.what, route, headers={**headers, **JSON}, content=content)
        for what, content in bad_documents():
            await sender.send(what, route, headers={**headers, **JSON}, content=content)
        await sender.send("other type", route, headers=headers, content=b"<a/>")
        headers |= JSON
        too_large = b'"' + b"a" * TOO_LARGE_BYTES
        if await sender.send("too large", route, headers=headers, content=too_large) != TOO_LARGE:
            unrefused.append(f"{route}, too large")
        more: dict[str, Any] = {"headers": headers, "may_be_cut_off": True}
        await sender.send("huge", route, content=too_large * 50, **more)
        await sender.send("endless", route, content=_stream(), **more)
        if sender.refused == before:
            unrefused.append(str(route))

    assert [] == sender.faults
    assert [] == unrefused


async def test_route_refuses_every_bad_parameter(
    environment: Environment, people: People, sender: Sender
) -> None:
    """Each parameter of each path and query, hostile."""
    for route in await routes(environment):
        headers = await credential(environment, people, route)
        body = {} if route.body is None else {"json": route.schemas.good(route.body)}
        for parameter in route.parameters("path"):
            for text in _encodable():
                url = route.filled(**{parameter["name"]: text})
                await sender.send(f"{text!r:.30}", route, url, headers=headers, **body)
        for parameter in route.parameters("query"):
            for text in (*_encodable(), "-1", "1e3", str(2**63), "0x10"):
                query = {parameter["name"]: text}
                await sender.send(f"{text!r:.30}", route, headers=headers, params=query, **body)

    assert [] == sender.faults
    assert sender.refused > 50


async def test_unknown_paths_and_methods_are_refused(
    environment: Environment, sender: Sender
) -> None:
    """What is not declared is refused as clearly as what is declared and not allowed."""
    declared: dict[str, set[str]] = {}
    found = await routes(environment)
    for route in found:
        declared.setdefault(f"{route.url}{route.path}", set()).add(route.method)
    served = []
    for route in found:
        for method in METHODS:
            if method in declared[f"{route.url}{route.path}"] or method == "head":
                continue
            other = Route(
                route.service, route.url, route.path, method, route.operation, route.schemas
            )
            if await sender.send("undeclared method", other) < 400:
                served.append(str(other))
    for path in ("/", f"/{MARKER}", f"/%2e%2e/{MARKER}", "/threads/", f"/health/{MARKER}"):
        for url in {route.url for route in found}:
            other = Route("", url, path, "get", {}, Schemas({}))
            if await sender.send("undeclared path", other, f"{url}{path}") < 400:
                served.append(f"{url} {other}")

    assert [] == sender.faults
    assert [] == served


JSON = {"content-type": "application/json"}


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _encodable() -> Iterator[str]:
    for text in HOSTILE_TEXTS:
        if (text and text.isprintable()) or "\x00" in text or "\r" in text:
            yield text


async def _stream() -> AsyncIterator[bytes]:
    for _ in range(100):
        yield b'{"a": "' + b"b" * 50_000
