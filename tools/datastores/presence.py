"""A connection that tells others that a run lives: the server ends it when the process dies.

Whoever finds things of a run without such a connection may remove them. It is there before the
run makes anything, and until everything is removed. On PostgreSQL it holds an advisory lock of the
run's number; on Redis it is called by the run's name.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import Final, Self

import asyncpg

# The first of the two numbers of an advisory lock: "wt" twice, in ASCII.
LOCK_CLASS: Final = 0x7774_7774
_LIMIT_SECONDS: Final = 15.0
_SIGN: Final = 1 << 31


def lock_number(run: str) -> int:
    """The second number: the run's eight digits as a signed integer of 32 bits."""
    return (int(run, 16) ^ _SIGN) - _SIGN


class PostgresPresence:
    """Holds a lock in a connection and a thread of its own; `held` tells whether it does.

    Args:
        dsn: where the server is, and as whom.
        label: what the connection is called, in pg_stat_activity.
        number: the lock's second number; 0 is whoever removes what others left.
    """

    def __init__(self, dsn: str, label: str, number: int) -> None:
        self.held = False
        self._dsn = dsn
        self._label = label
        self._number = number
        self._tried: Future[bool] = Future()
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.held = self._tried.result(_LIMIT_SECONDS)
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(_LIMIT_SECONDS)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._hold())

    async def _hold(self) -> None:
        try:
            connection = await asyncpg.connect(
                self._dsn,
                timeout=_LIMIT_SECONDS,
                command_timeout=_LIMIT_SECONDS,
                server_settings={"application_name": self._label, "idle_session_timeout": "0"},
            )
            asked = f"select pg_try_advisory_lock({LOCK_CLASS}, {self._number})"
            self._tried.set_result(bool(await connection.fetchval(asked)))
        except BaseException as error:  # noqa: BLE001 -- whoever waits gets it
            self._tried.set_exception(error)
            return
        await self._ended.wait()
        try:
            await connection.close(timeout=_LIMIT_SECONDS)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            connection.terminate()
