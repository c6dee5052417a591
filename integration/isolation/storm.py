"""A random program over one pool: transactions of many scopes that end in every way at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from integration.isolation.owners import Owner, reply
from services.runtime.postgres import Database

ENDINGS: Final = ("commit", "rollback", "savepoint", "error", "cancelled", "left open")
_AT_ONCE: Final = 16
_LIMIT_SECONDS: Final = 60.0

_TITLES: Final = text("select title from threads")
_CONTENTS: Final = text("select content from messages order by sequence")
_RENAME: Final = text("update threads set title = title returning title")


@dataclass(frozen=True, slots=True)
class Transaction:
    """One step of the program: whose it is, how it ends, and after how many turns if cancelled."""

    owner: Owner
    ending: str
    turns: int


class _Failed(Exception):
    """What whoever uses a session might raise."""


def drawn(owners: Sequence[Owner], chance: Random, transactions: int) -> list[Transaction]:
    """A program: everything in it follows from the seed."""
    return [
        Transaction(chance.choice(owners), chance.choice(ENDINGS), chance.randrange(12))
        for _ in range(transactions)
    ]


async def run_storm(database: Database, program: Sequence[Transaction]) -> list[str]:
    """What transactions saw besides their own, sixteen at a time: nothing, as it should be.

    Raises:
        TimeoutError: it took over 60 s.
    """
    seen: list[str] = []
    async with asyncio.timeout(_LIMIT_SECONDS):
        for start in range(0, len(program), _AT_ONCE):
            async with asyncio.TaskGroup() as group:
                for step in program[start : start + _AT_ONCE]:
                    group.create_task(_ended(database, step, seen))
    return seen


async def _ended(database: Database, step: Transaction, seen: list[str]) -> None:
    begun = asyncio.Event()
    task = asyncio.create_task(_work(database, step, seen, begun))
    if step.ending == "cancelled":
        # In the middle of its statements, and not while it waits for a connection.
        waiting = asyncio.create_task(begun.wait())
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        for _ in range(step.turns):
            await asyncio.sleep(0)
        task.cancel()
    with suppress(asyncio.CancelledError, _Failed):
        await task


async def _work(
    database: Database, step: Transaction, seen: list[str], begun: asyncio.Event
) -> None:
    owner = step.owner
    async with database.session(owner.scope) as session:
        _ = await session.connection()
        begun.set()
        await _look(session, owner, seen)
        if step.ending == "savepoint":
            savepoint = await session.begin_nested()
            await _look(session, owner, seen)
            await savepoint.rollback()
        await asyncio.sleep(0)
        await _look(session, owner, seen)
        if step.ending in {"commit", "savepoint"}:
            await session.commit()
        elif step.ending == "rollback":
            await session.rollback()
        elif step.ending == "error":
            raise _Failed


async def _look(session: AsyncSession, owner: Owner, seen: list[str]) -> None:
    for statement, own in (
        (_RENAME, [owner.word]),
        (_CONTENTS, [owner.word, reply(owner)]),
        (_TITLES, [owner.word]),
    ):
        if (gave := list(await session.scalars(statement))) != own:
            seen.append(f"{owner.word}: {statement} gave {gave}")
