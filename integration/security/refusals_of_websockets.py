"""Bad first frames, tickets and origins: who is not admitted to a WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Final

from integration.clients.answers import Refused
from integration.clients.auth import AuthClient
from integration.clients.backend import BackendClient
from integration.security.forgeries import forged, spliced
from integration.security.inputs import MARKER
from integration.security.refusals import INVALID_ARGUMENT, Case, Channel, Fault
from integration.security.refusals_at_edges import TOO_LONG
from integration.security.sending import Said, over_websocket
from integration.security.stage import Stage

_LIMIT_SECONDS: Final = 10.0
_TICKET_TAKEN: Final = ("1 command getdel",)
_BAD_REQUEST, _BAD_TOKEN, _TOO_LARGE, _FORBIDDEN = "4400", "4401", "1009", "403"


def _authenticate(token: str) -> str:
    return json.dumps({"type": "authenticate", "token": token})


def over_first_frames(stage: Stage, hop: str) -> Iterator[Case]:
    """What a connection without a ticket may say first, and must not."""
    url, good, key = stage.environment.backend_url, stage.mine.access_token, stage.key
    twice = f'{{"type": "authenticate", "token": "{good}", "token": "{good}"}}'
    subscribe = json.dumps({"type": "subscribe", "thread_id": stage.thread_id})
    for fault, detail, code, first in (
        (Fault.ABSENT, "another frame in its place", _BAD_REQUEST, subscribe),
        (Fault.MALFORMED, "no JSON", _BAD_REQUEST, MARKER),
        (Fault.MALFORMED, "no JWT", _BAD_TOKEN, _authenticate(MARKER)),
        (Fault.EXPIRED, "an hour ago", _BAD_TOKEN, _authenticate(stage.expired)),
        (
            Fault.WIDENED,
            "a scope that does not exist",
            _BAD_TOKEN,
            _authenticate(forged(good, key, scope="all")),
        ),
        (
            Fault.SPLICED,
            "their signature",
            _BAD_TOKEN,
            _authenticate(spliced(good, stage.theirs.access_token)),
        ),
        (Fault.DUPLICATED, "the token", _BAD_REQUEST, twice),
        (Fault.OVERSIZED, "a long word", _TOO_LARGE, _authenticate("a" * 2 * TOO_LONG)),
        (Fault.ELSEWHERE, "a hop's token", _BAD_TOKEN, _authenticate(hop)),
    ):
        send = partial(over_websocket, url, (first,))
        yield Case(Channel.WEBSOCKET, fault, detail, "backend-1", code, send)
    script = partial(
        over_websocket, url, (_authenticate(good),), origin="https://elsewhere.example"
    )
    detail = "another site's script"
    yield Case(Channel.WEBSOCKET, Fault.ELSEWHERE, detail, "backend-1", _FORBIDDEN, script)


async def over_tickets(stage: Stage) -> list[Case]:
    """Tickets that are none, that were used, and that outlive their log-in."""
    url, good, theirs = (
        stage.environment.backend_url,
        stage.mine.access_token,
        stage.theirs.access_token,
    )
    async with BackendClient(url, token=good) as backend:
        used, spliced_ticket = [(await backend.websocket_ticket()).ticket for _ in range(2)]
    await over_websocket(url, query=f"?ticket={used}")
    ended = await _ticket_of_an_ended_log_in(stage)

    def ticket(query: str, *frames: str) -> Callable[[], Awaitable[Said]]:
        return partial(over_websocket, url, frames, f"?ticket={query}")

    cases = (
        (Fault.MALFORMED, "a word", _BAD_TOKEN, ticket(MARKER), ()),
        (Fault.MALFORMED, "nobody's", _BAD_TOKEN, ticket("a" * 43), _TICKET_TAKEN),
        (Fault.EXPIRED, "its log-in has ended", _BAD_TOKEN, ticket(ended), _TICKET_TAKEN),
        (Fault.DUPLICATED, "used before", _BAD_TOKEN, ticket(used), _TICKET_TAKEN),
        (
            Fault.DUPLICATED,
            "in one address",
            _BAD_REQUEST,
            ticket(f"{'a' * 43}&ticket={'a' * 43}"),
            (),
        ),
        (
            Fault.SPLICED,
            "mine, and their token in a frame",
            INVALID_ARGUMENT,
            ticket(spliced_ticket, _authenticate(theirs)),
            _TICKET_TAKEN,
        ),
        (Fault.OVERSIZED, "a long word", _TOO_LARGE, ticket("a" * TOO_LONG), ()),
        (Fault.ELSEWHERE, "an access token", _BAD_TOKEN, ticket(good), ()),
    )
    return [
        Case(Channel.TICKET, fault, detail, "backend-1", code, send, leaves)
        for fault, detail, code, send, leaves in cases
    ]


async def _ticket_of_an_ended_log_in(stage: Stage) -> str:
    """A ticket that is still good for half a minute, of somebody who has logged out."""
    token = await stage.people.token_of(stage.people.member)
    async with (
        BackendClient(stage.environment.backend_url, token=token) as backend,
        AuthClient(stage.environment.auth_url) as auth,
    ):
        ticket = (await backend.websocket_ticket()).ticket
        await auth.log_out(token)
        async with asyncio.timeout(_LIMIT_SECONDS):
            with contextlib.suppress(Refused):
                while True:
                    await backend.threads()
    return ticket
