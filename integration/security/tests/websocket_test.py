import json

import pytest

from integration.clients.answers import Refused, Unanswered
from integration.clients.websocket import WebSocketTestClient
from integration.environment import Environment
from integration.security.inputs import MARKER, Schemas, bad_documents
from integration.security.judging import quoted_or_inside
from integration.security.routes import frames
from integration.security.stage import People

pytestmark = pytest.mark.usefixtures("unharmed")

# With what one frame may end a connection, and why: of what the service documents no more. Not
# among them: 1001 and 1013 (the server's state, no answer to a frame), 1008 (a flood of frames
# that say nothing), 1011 (a defect), 4403 (what is not allowed is answered; the connection stays).
AFTER_ADMISSION = {
    1009: "a message of over 128 KiB (RFC 6455, section 7.4.1)",
    4400: "bytes, or a text that is no JSON object",
}
BEFORE_ADMISSION = {
    1009: "a first message of over 8 KiB",
    4400: "a first message that is no `authenticate`",
    4401: "a credential that is not valid",
}
AUTHENTICATE = "authenticate"


class Talker:
    """Sends bad frames over one connection after the other, and keeps what was wrong."""

    def __init__(self, environment: Environment, token: str) -> None:
        self.faults: list[str] = []
        self.refused = 0
        self.codes: set[int] = set()
        self._url = environment.backend_url
        self._token = token
        self._client: WebSocketTestClient | None = None

    async def send(self, what: str, text: str | bytes) -> None:
        """One frame: a typed error, a clear close, or an answer; the connection goes on or ends."""
        client = await self._connected()
        try:
            answer = await client.ask_text(text)
        except Unanswered:
            code = client.close_code or 0
            self.refused += 1
            wrong = list(quoted_or_inside(client.close_reason))
            self.codes.add(code)
            if code not in AFTER_ADMISSION:
                wrong.append(f"closed with {code} {client.close_reason}")
            self.faults += [f"{what}: {each}" for each in wrong]
            return
        if answer.status == "error":
            self.refused += 1
            error = json.loads(answer.body)
            wrong = list(quoted_or_inside(answer.body.decode()))
            if not (error["code"].isupper() and error["message"] and error["request_id"]):
                wrong.append(f"untyped: {error}")
            self.faults += [f"{what}: {each}" for each in wrong]

    async def close(self) -> None:
        """Ends the connection; it must still answer where nothing closed it."""
        if self._client is not None:
            if not self._client.closed:
                await self._client.ask({"type": "ping"}, "pong")
            await self._client.close()

    async def _connected(self) -> WebSocketTestClient:
        if self._client is None or self._client.closed:
            self._client = WebSocketTestClient(token=self._token, base_url=self._url)
            await self._client.__aenter__()
        return self._client


async def test_backend_declares_its_frames(environment: Environment) -> None:
    """The enumeration is not empty, so the other tests are about something."""
    found = await frames(environment)

    assert {AUTHENTICATE, "subscribe", "unsubscribe", "agent_request", "ping"} <= set(found)


async def test_every_bad_frame_is_refused(environment: Environment, people: People) -> None:
    """Each field of each frame, with every kind of value that it is not."""
    found = await frames(environment)
    talker = Talker(environment, await people.token_of(people.member))
    for kind, schema in found.items():
        if kind == AUTHENTICATE:
            continue
        for bad in Schemas(schema).bad(schema):
            await talker.send(f"{kind}: {bad.what}", json.dumps(bad.value))
    for what, content in bad_documents():
        await talker.send(what, content)
        await talker.send(f"{what} as text", content.decode("latin-1"))
    await talker.send("huge", json.dumps({"type": "ping", "traceparent": MARKER * 500_000}))
    await talker.send("authenticated again", json.dumps({"type": AUTHENTICATE, "token": MARKER}))
    await talker.close()

    assert [] == talker.faults
    assert set(AFTER_ADMISSION) == talker.codes
    assert talker.refused > 100


async def test_nobody_is_admitted_by_a_bad_first_frame(environment: Environment) -> None:
    """Before admission every frame but a good one closes the connection, and says why by a code."""
    found = await frames(environment)
    schema = found[AUTHENTICATE]
    first = [json.dumps(bad.value).encode() for bad in Schemas(schema).bad(schema)]
    first += [json.dumps({"type": kind, "thread_id": MARKER}).encode() for kind in found]
    first += [content for _, content in bad_documents()]
    faults = []
    codes = set()
    for content in first:
        text = content.decode("latin-1")
        code, reason = await _admission(environment, text)
        wrong = list(quoted_or_inside(reason))
        codes.add(code)
        if code not in BEFORE_ADMISSION:
            wrong.append(f"{code} {reason}")
        faults += [f"{text:.60}: {each}" for each in wrong]

    assert [] == faults
    assert set(BEFORE_ADMISSION) == codes


async def _admission(environment: Environment, text: str) -> tuple[int, str]:
    client = _FirstFrame(text, environment.backend_url)
    try:
        async with client:
            return 0, "admitted"
    except (Refused, Unanswered):
        return client.close_code or 0, client.close_reason


class _FirstFrame(WebSocketTestClient):
    """Sends something else in the place of its first frame."""

    def __init__(self, text: str, base_url: str) -> None:
        super().__init__(token=MARKER, base_url=base_url)
        self._first: str | None = text

    async def send_text(self, text: str | bytes) -> None:
        """The first frame is replaced."""
        first, self._first = self._first, None
        await super().send_text(text if first is None else first)


@pytest.mark.parametrize("ticket", ["", MARKER, MARKER * 1000, "%00", "a&ticket=b", "../x"])
async def test_nobody_is_admitted_by_a_bad_ticket(environment: Environment, ticket: str) -> None:
    """A ticket that is none is refused, and is in no answer and no log."""
    with pytest.raises((Refused, Unanswered)) as refused:
        async with WebSocketTestClient(ticket=ticket, base_url=environment.backend_url):
            pass

    if isinstance(refused.value, Refused):
        assert [] == list(quoted_or_inside(refused.value.answer.body.decode()))


@pytest.mark.parametrize("origin", ["https://evil.example", "null", f"https://{MARKER}"])
async def test_other_sites_scripts_are_refused(
    environment: Environment, people: People, origin: str
) -> None:
    """An origin that is not allowed gets no connection, whatever its token."""
    token = await people.token_of(people.member)
    with pytest.raises(Refused) as refused:
        async with WebSocketTestClient(
            token=token, base_url=environment.backend_url, origin=origin
        ):
            pass

    assert refused.value.answer.status in {"403", "4403"}
