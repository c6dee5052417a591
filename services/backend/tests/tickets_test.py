"""Tickets, on a real Redis."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest

from services.backend.tests.stage import Stage, now, principal
from services.backend.tickets import Tickets
from services.runtime.errors import Unauthenticated
from tools.datastores import ValkeyServer


async def test_a_ticket_gives_its_log_in_once(stage: Stage) -> None:
    """Of many who redeem it at once exactly one gets the log-in, whole."""
    tickets = Tickets(stage.redis, clock=now)
    anna = principal("anna")
    ticket = await tickets.issue(anna)
    results = await asyncio.gather(
        *(tickets.redeem(ticket.value) for _ in range(20)), return_exceptions=True
    )
    given = [result for result in results if not isinstance(result, BaseException)]

    assert [replace(anna, expires_at=given[0].expires_at)] == given
    assert abs(given[0].expires_at - anna.expires_at) < timedelta(milliseconds=1)
    assert {Unauthenticated} == {type(r) for r in results if isinstance(r, BaseException)}


async def test_redis_holds_a_hash_for_thirty_seconds(stage: Stage, valkey: ValkeyServer) -> None:
    """Neither key nor value holds the ticket, and the entry ends by itself."""
    ticket = await Tickets(stage.redis, clock=now).issue(principal("anna"))
    keys = [key for key in valkey.admin.keys("*") if b"websocket-ticket" in key]
    lifetimes = [valkey.admin.ttl(key) for key in keys]
    kept = [*keys, *(valkey.admin.get(key) for key in keys)]

    assert not any(ticket.value.encode() in cast("bytes", part) for part in kept)
    assert 0 < max(lifetimes) <= 30 == ticket.expires_in


async def test_a_ticket_ends_with_its_log_in(stage: Stage) -> None:
    """It lives no longer than the log-in; one that is about to end gets none."""
    tickets = Tickets(stage.redis, clock=now)
    soon = replace(principal("anna"), expires_at=now() + timedelta(seconds=10))
    at_once = replace(principal("anna"), expires_at=now() + timedelta(milliseconds=500))

    assert 9 == (await tickets.issue(soon)).expires_in
    with pytest.raises(Unauthenticated):
        await tickets.issue(at_once)


@pytest.mark.parametrize("value", ["", "x", "A" * 43, "A" * 42, "A" * 44, "ä" * 43, "\0" * 43])
async def test_what_was_never_issued_is_refused(stage: Stage, value: str) -> None:
    """A guess, or what is no ticket at all, is a stranger's."""
    with pytest.raises(Unauthenticated):
        await Tickets(stage.redis, clock=now).redeem(value)
