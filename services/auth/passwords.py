"""Passwords, kept as argon2id hashes (RFC 9106), computed in threads of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from services.runtime.errors import ResourceExhausted

_THREADS: Final = 2
# Each waits its turn; with argon2's defaults that many take about 1.5 s on two cores.
_MAXIMUM_WAITING: Final = 32

R = TypeVar("R")


class Passwords:
    """Hashes and verifies passwords, a bounded number at once.

    Args:
        memory_kib: argon2's memory for one password.
        iterations: argon2's passes over it.
    """

    def __init__(self, *, memory_kib: int, iterations: int) -> None:
        self._hasher = argon2.PasswordHasher(
            time_cost=iterations, memory_cost=memory_kib, parallelism=1
        )
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="argon2")
        self._waiting = 0
        # Nobody's. Verified where there is no user: the answer takes as long as a wrong one.
        self._nobody = self._hasher.hash("nobody has this password")

    async def hash(self, password: str) -> str:
        """The hash to store, with its parameters and a salt of its own.

        Raises:
            ResourceExhausted: too many are waiting.
        """
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether this is the password; without a hash never, after as much work.

        Raises:
            ResourceExhausted: too many are waiting.
        """
        right = await self._run(lambda: self._matches(password_hash or self._nobody, password))
        return right and password_hash is not None

    def close(self) -> None:
        """Waits for nothing; what is waiting is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], R]) -> R:
        if self._waiting >= _MAXIMUM_WAITING:
            raise ResourceExhausted
        self._waiting += 1
        future = self._threads.submit(work)
        # A caller that has gone still occupies its thread: count by the work, not by the caller.
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: self._count_down(loop))
        return await asyncio.wrap_future(future)

    def _count_down(self, loop: asyncio.AbstractEventLoop) -> None:
        def down() -> None:
            self._waiting -= 1

        if not loop.is_closed():
            loop.call_soon_threadsafe(down)
