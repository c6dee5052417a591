"""How the engine drives the notebook service: over HTTP, with its log lines read at the end."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import httpx
import uvicorn

from integration.audit import (
    Adapter,
    Call,
    Channel,
    ChannelPlan,
    Issued,
    Launch,
    Level,
    MeasurePlan,
    Observation,
    OperationKind,
    OperationPlan,
    Outcome,
    Population,
    Reading,
    Scope,
    Subscription,
    SubscriptionRefusedError,
    SystemDescription,
)
from integration.systems.example.notebook import Notebook, log

CACHE_LEAK = "cache-by-url"
"""The seeded leak: the list of books is cached on its address alone."""

_START_LIMIT_SECONDS = 10.0

DESCRIPTION = SystemDescription(
    name="notebook",
    channels=(ChannelPlan(Channel.HTTP), ChannelPlan(Channel.ERRORS), ChannelPlan(Channel.LOGS)),
    operations=(
        OperationPlan("create book", Channel.HTTP, OperationKind.CREATE, Level.THREAD),
        OperationPlan("list books", Channel.HTTP, OperationKind.READ, Level.USER),
        OperationPlan(
            "write note",
            Channel.HTTP,
            OperationKind.WRITE,
            Level.THREAD,
            weight=3,
            delivers_to=("notes",),
            contributes={"notes": 1},
        ),
        OperationPlan("read notes", Channel.HTTP, OperationKind.READ, Level.THREAD, reads="notes"),
        OperationPlan("total", Channel.HTTP, OperationKind.AGGREGATE, Level.USER),
    ),
    measures=(MeasurePlan("notes", "notes"),),
    settle_seconds=2.0,
)


class NotebookAdapter:
    """Knows which token and which book belongs to whom in the engine's words."""

    def __init__(self, url: str, log_lines: list[str]) -> None:
        self._client = httpx.AsyncClient(base_url=url)
        self._log_lines = log_lines
        self._tokens: dict[Scope, str] = {}
        self._books: dict[Scope, str] = {}

    @property
    def description(self) -> SystemDescription:
        """Everything that the notebook has."""
        return DESCRIPTION

    async def prepare(self, population: Population, issue: Callable[[Issued], None]) -> None:
        """Log everybody in; a session of this service is its user's only one."""
        for user in population.users:
            answer = await self._client.post("/sessions", json={"login": user.login})
            self._tokens[user.scope] = answer.json()["token"]
            issue(Issued("user", answer.json()["user"], user.scope))

    async def invoke(self, call: Call) -> Outcome:
        """Send a request, and say what came back and what it means."""
        book = uuid4().hex if call.absent else self._books.get(call.scope, "")
        answer = await self._send(call, book)
        if answer.is_error:
            observations = [Observation(Channel.ERRORS, answer.text)]
            return Outcome.failed(str(answer.status_code), observations, mentions=[book])
        issued = []
        if call.operation.kind is OperationKind.CREATE:
            self._books[call.scope] = answer.json()["book"]
            issued = [Issued("thread", answer.json()["book"], call.scope)]
        readings = []
        if call.operation.kind is OperationKind.AGGREGATE:
            readings = [Reading("notes", answer.json()["notes"])]
        texts = answer.json() if call.operation.reads else [answer.text]
        observations = [Observation(Channel.HTTP, text) for text in texts]
        status = str(answer.status_code)
        return Outcome.ok(status, observations, issued=issued, readings=readings)

    async def _send(self, call: Call, book: str) -> httpx.Response:
        method, path, body = {
            "create book": ("POST", "/books", {"title": "".join(call.canaries[:1])}),
            "list books": ("GET", "/books", None),
            "write note": ("POST", f"/books/{book}/notes", {"note": "".join(call.canaries[:1])}),
            "read notes": ("GET", f"/books/{book}/notes", None),
            "total": ("GET", "/total", None),
        }[call.operation.name]
        headers = {"token": self._tokens[call.principal.scope], "traceparent": call.traceparent}
        return await self._client.request(method, path, json=body, headers=headers)

    @asynccontextmanager
    async def subscribe(
        self, subscription: Subscription
    ) -> AsyncIterator[AsyncIterator[Observation]]:
        """Refuse: this service has no connections."""
        raise SubscriptionRefusedError(f"no {subscription.plan.name} here")
        yield  # makes it a generator, which the decorator wants

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[Observation]]:
        """See nothing while the workload runs; the log is read at the end."""
        yield _nothing()

    async def rest(self) -> AsyncIterator[Observation]:
        """Give every log line, with whose it says it is."""
        for line in self._log_lines:
            stated = dict(part.split("=") for part in line.split())
            yield Observation(Channel.LOGS, line, attribution=stated, source="notebook log")

    async def close(self) -> None:
        """Close the connections to the service."""
        await self._client.aclose()


async def _nothing() -> AsyncIterator[Observation]:
    return
    yield  # an asynchronous generator that gives nothing


@asynccontextmanager
async def open_notebook(launch: Launch) -> AsyncIterator[Adapter]:
    """Serve the notebook on a free port of the loopback interface, with or without its leak."""
    notebook = Notebook(cache_by_url=launch.leak == CACHE_LEAK)
    handler = _Lines()
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    config = uvicorn.Config(notebook.app, host="127.0.0.1", port=0, log_config=None, ws="none")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(_START_LIMIT_SECONDS):
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        adapter = NotebookAdapter(f"http://127.0.0.1:{port}", handler.lines)
        yield adapter
        await adapter.close()
    finally:
        server.should_exit = True
        await serving
        log.removeHandler(handler)


class _Lines(logging.Handler):
    """Keeps the lines of a log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
