"""The servers of pytest-postgresql and pytest-redis, started as these start them.

Postgres refuses to run as root: where this process is root, the peers are measured in a child that
has become `nobody`.
"""

from __future__ import annotations

import multiprocessing
import os
import pwd
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from pytest_postgresql.executors import PostgreSQLExecutor
from pytest_redis.executor import RedisExecutor

from tools.datastores.programs import postgres_program, valkey_program
from tools.processes import reserve_port, unprivileged_user

_LIMIT_SECONDS: Final = 60.0


class PeersFailed(Exception):
    """A peer did not start."""


def servers_ready() -> float:
    """Seconds until a new Postgres and a new Redis answer, one after the other, as fixtures do.

    Raises:
        PeersFailed: they do not start.
        TimeoutError: not within 60 s.
    """
    programs = postgres_program("pg_ctl"), valkey_program()
    with tempfile.TemporaryDirectory(prefix="peers-") as name:
        folder = Path(name)
        if (user := unprivileged_user()) is not None:
            account = pwd.getpwnam(user)
            os.chown(folder, account.pw_uid, account.pw_gid)
        return _in_child(lambda: _start(folder, *programs), user)


def _start(folder: Path, postgres_control: Path, redis_server: Path) -> float:
    os.environ["HOME"] = str(folder)
    tempfile.tempdir = str(folder)
    with reserve_port() as postgres_port, reserve_port() as redis_port:
        started = time.perf_counter()
        postgres = PostgreSQLExecutor(
            executable=str(postgres_control),
            host="127.0.0.1",
            port=postgres_port.port,
            datadir=str(folder / "data"),
            unixsocketdir=str(folder),
            logfile=str(folder / "postgres.log"),
            startparams="-w",
            dbname="tests",
        )
        redis = RedisExecutor(
            executable=str(redis_server),
            databases=8,
            redis_timeout=0,
            loglevel="notice",
            host="127.0.0.1",
            port=redis_port.port,
            datadir=folder,
        )
        with postgres, redis:
            postgres.wait_for_postgres()
            return time.perf_counter() - started


def _in_child(work: Callable[[], float], user: str | None) -> float:
    # A fork has every module already: nobody may read where root's lie.
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_become, args=(work, user, sender))
    child.start()
    sender.close()
    try:
        if not receiver.poll(_LIMIT_SECONDS):
            raise TimeoutError(f"the peers were not ready within {_LIMIT_SECONDS:g} s")
        answer = receiver.recv()
    finally:
        child.join(_LIMIT_SECONDS)
        child.kill()
    if isinstance(answer, str):
        raise PeersFailed(f"the peers did not start: {answer}")
    seconds: float = answer
    return seconds


def _become(work: Callable[[], float], user: str | None, answer: Connection) -> None:
    try:
        if user is not None:
            account = pwd.getpwnam(user)
            os.setgroups([])
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
            os.chdir("/")
        answer.send(work())
    except BaseException as error:  # noqa: BLE001 -- whatever it is, the parent tells it
        answer.send(repr(error))
