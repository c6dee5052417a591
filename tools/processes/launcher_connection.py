"""The supervisor's end of its launcher: requests, answers, and the news of exits."""

import itertools
import json
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.processes.errors import LauncherError, SpawnError

_ANSWER_LIMIT_SECONDS = 20.0
_END_LIMIT_SECONDS = 10.0
_RECEIVE_BYTES = 65536


@dataclass(frozen=True, kw_only=True)
class SpawnRequest:
    """All that the launcher needs to know of one process."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    working_directory: Path
    user: str | None
    log: Path
    abort_signal: int


class LauncherConnection:
    """Starts a launcher and speaks with it.

    Keys are the supervisor's own numbers for processes: an exit may be reported before the
    supervisor has learned the process's number. `on_exit(key, code)` and `on_loss()` are called
    from the thread that reads the answers.
    """

    def __init__(self, on_exit: Callable[[int, int], None], on_loss: Callable[[], None]) -> None:
        self._on_exit = on_exit
        self._on_loss = on_loss
        self._answers: dict[int, queue.SimpleQueue[dict[str, Any] | None]] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._lost = False
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                _command(theirs.fileno()),
                env={},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # Ctrl-C and a group's SIGKILL are for the supervisor; the launcher cleans up after.
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, name="launcher-reader", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The launcher's process number."""
        return self._process.pid

    def spawn(self, key: int, request: SpawnRequest) -> int:
        """Starts a process and gives its number. Raises SpawnError, LauncherError."""
        answer = self._ask(
            "spawn",
            key,
            argv=list(request.argv),
            env=dict(request.env),
            working_directory=str(request.working_directory),
            user=request.user,
            log=str(request.log),
            abort_signal=request.abort_signal,
        )
        if answer["event"] == "failed":
            raise SpawnError(request.name, answer["reason"])
        pid: int = answer["pid"]
        return pid

    def signal(self, key: int, number: int, *, tree: bool) -> bool:
        """Signals a process, or all of its tree; False when it has ended already."""
        return bool(self._ask("signal", key, signal=number, tree=tree)["delivered"])

    def adopt(self, folder: Path) -> None:
        """Has a folder removed when the launcher ends."""
        self._ask("adopt", 0, path=str(folder))

    def close(self) -> None:
        """Ends the launcher and whatever still runs below it."""
        self._control.shutdown(socket.SHUT_WR)
        try:
            self._process.wait(_END_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(_END_LIMIT_SECONDS)
        self._control.close()

    def _ask(self, request: str, key: int, **fields: object) -> dict[str, Any]:
        waiting: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        number = next(self._numbers)
        message = json.dumps({"do": request, "number": number, "key": key, **fields})
        with self._lock:
            if self._lost:
                raise LauncherError(_LOST)
            self._answers[number] = waiting
            try:
                self._control.sendall(message.encode() + b"\n")
            except OSError as error:
                raise LauncherError(_LOST) from error
        try:
            answer = waiting.get(timeout=_ANSWER_LIMIT_SECONDS)
        except queue.Empty:
            answer = None
        if answer is None:
            raise LauncherError(_LOST)
        return answer

    def _read(self) -> None:
        buffer = b""
        while received := self._receive():
            *lines, buffer = (buffer + received).split(b"\n")
            for line in lines:
                self._dispatch(json.loads(line))
        with self._lock:
            self._lost = True
            for waiting in self._answers.values():
                waiting.put(None)
        self._on_loss()

    def _receive(self) -> bytes:
        try:
            return self._control.recv(_RECEIVE_BYTES)
        except OSError:
            return b""

    def _dispatch(self, event: dict[str, Any]) -> None:
        if event["event"] == "exited":
            self._on_exit(event["key"], event["code"])
            return
        with self._lock:
            waiting = self._answers.pop(event["number"], None)
        if waiting is not None:
            waiting.put(event)


_LOST = "the launcher has ended, and every process of this supervisor with it"


def _command(descriptor: int) -> list[str]:
    script = Path(__file__).with_name("launcher.py")
    # -I -S: nothing of the caller's Python environment, and a start in 20 ms.
    return [sys.executable, "-I", "-S", str(script), str(descriptor), str(os.getpid())]
