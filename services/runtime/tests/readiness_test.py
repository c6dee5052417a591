from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from services.runtime import readiness
from services.runtime.readiness import RememberedReadiness


class _Looks:
    """Counts how often somebody looks, and says what it is told to."""

    def __init__(self) -> None:
        self.number = 0
        self.ready = True
        self.release = asyncio.Event()
        self.release.set()

    async def __call__(self) -> Mapping[str, bool]:
        self.number += 1
        await self.release.wait()
        return {"postgres": self.ready}


async def test_all_who_ask_at_once_share_a_look() -> None:
    """A hundred questions cost one, and who goes away spoils nobody's answer."""
    looks = _Looks()
    looks.release.clear()
    remembered = RememberedReadiness(looks)
    asked = [asyncio.create_task(remembered()) for _ in range(100)]
    await asyncio.sleep(0)
    asked[0].cancel()
    looks.release.set()
    async with asyncio.timeout(5):
        told = await asyncio.gather(*asked[1:])

    assert 1 == looks.number
    assert 99 * [{"postgres": True}] == told


async def test_an_answer_is_soon_out_of_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was true is told within the bound, and looked at again after it."""
    looks = _Looks()
    remembered = RememberedReadiness(looks)
    told = [await remembered()]
    looks.ready = False
    told.append(await remembered())
    monkeypatch.setattr(readiness, "REMEMBERED_SECONDS", 0.0)
    told.append(await remembered())

    assert [True, True, False] == [answer["postgres"] for answer in told]
