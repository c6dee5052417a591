"""One process under supervision: what it said, and what can be done to it."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tools.processes.errors import HealthLimitError, ProcessDiedError, StopLimitError
from tools.processes.launcher_connection import SpawnRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tools.processes.launcher_connection import LauncherConnection
    from tools.processes.readiness import Ready
    from tools.processes.specification import ProcessSpecification

_LEAST_POLL_SECONDS = 0.002
_MOST_POLL_SECONDS = 0.05
_POLL_SHARE = 0.05
_KILL_LIMIT_SECONDS = 5.0
_TAIL_BYTES = 65536


class SupervisedProcess:
    """A handle that stays the same over stop, kill and restart.

    Made by a `Supervisor`. Every call blocks, for at most the limits of the specification, and
    may be made from any thread.
    """

    def __init__(
        self,
        specification: ProcessSpecification,
        log_path: Path,
        *,
        launcher: LauncherConnection,
        changed: threading.Condition,
        others: Callable[[], Mapping[str, Ready]],
        new_key: Callable[[SupervisedProcess], int],
    ) -> None:
        self.specification = specification
        self.log_path = log_path
        self.ready: Ready = {}
        self.pid = 0
        self.exit_code: int | None = None
        self.paused = False
        self._launcher = launcher
        self._changed = changed
        self._others = others
        self._new_key = new_key
        self._key = 0
        self._end_expected = True
        self._scanned_bytes = 0
        self._ready_line: Ready | None = None

    @property
    def name(self) -> str:
        """The specification's name."""
        return self.specification.name

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self.pid != 0 and self.exit_code is None

    @property
    def died(self) -> bool:
        """Whether it ended though nobody stopped or killed it."""
        return self.exit_code is not None and not self._end_expected

    def start(self) -> None:
        """Starts it, where it is not running, and waits until it is healthy."""
        if not self.running:
            self.launch()
        self.wait_healthy()

    def launch(self) -> None:
        """Starts it and does not wait. Raises SpawnError."""
        specification = self.specification
        if specification.prepare is not None:
            specification.prepare()
        self._scanned_bytes = self.log_path.stat().st_size if self.log_path.exists() else 0
        self._ready_line = None
        self.ready = {}
        self.pid = 0
        request = SpawnRequest(
            name=self.name,
            argv=[os.fspath(argument) for argument in specification.argv],
            env=specification.environment(self._others()),
            working_directory=specification.working_directory or Path("/"),
            user=specification.user,
            log=self.log_path,
            abort_signal=specification.abort_signal,
        )
        with self._changed:
            self._key = self._new_key(self)
            self.exit_code = None
            self.paused = False
            self._end_expected = False
        self.pid = self._launcher.spawn(self._key, request)

    def run(self, limit_seconds: float) -> None:
        """Starts it and waits until it has ended with exit code 0.

        Raises ProcessDiedError for another code; after the limit it is killed, and TimeoutError
        raised.
        """
        self.launch()
        try:
            code = self.wait_exit(limit_seconds)
        except BaseException:
            self.kill()
            raise
        if code != 0:
            raise ProcessDiedError(self.name, code, self.log_path, self.log_tail())

    def probe(self) -> bool:
        """Asks the ready probe once; raises ProcessDiedError when the process has ended.

        A paused process is not healthy, whatever it left behind for a probe to see.
        """
        self.check()
        if self.paused:
            return False
        ready = self.specification.ready(self)
        if ready is None or not self.running:
            return False
        self.ready = ready
        return True

    def check(self) -> None:
        """Raises ProcessDiedError when it ended though nobody stopped or killed it."""
        if self.exit_code is not None and self.died:
            raise ProcessDiedError(self.name, self.exit_code, self.log_path, self.log_tail())

    def wait_healthy(self, limit_seconds: float | None = None) -> None:
        """Waits until the ready probe succeeds.

        Raises HealthLimitError after the limit (the specification's, unless given), and
        ProcessDiedError as soon as the process ends.
        """
        limit = self.specification.health_limit_seconds if limit_seconds is None else limit_seconds
        begin = time.monotonic()
        while not self.probe():
            waited = time.monotonic() - begin
            if waited > limit:
                raise HealthLimitError(self.name, limit, self.log_path, self.log_tail())
            with self._changed:
                self._changed.wait(poll_seconds(waited))

    def wait_exit(self, limit_seconds: float) -> int:
        """Waits until it has ended and gives its exit code. Raises TimeoutError after the limit."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.exit_code is not None, limit_seconds):
                message = f"process {self.name!r} still runs after {limit_seconds:g} s"
                raise TimeoutError(message)
            assert self.exit_code is not None  # noqa: S101 - narrows the type
            return self.exit_code

    def stop(self) -> None:
        """Sends the stop signal and waits until it has ended.

        After the specification's limit it is killed, and StopLimitError raised.
        """
        if self.request_stop():
            self.finish_stop()

    def request_stop(self) -> bool:
        """Sends the stop signal and does not wait; False when it is not running."""
        if not self.running:
            return False
        self._end_expected = True
        self.resume()
        return self._launcher.signal(self._key, self.specification.stop_signal, tree=False)

    def finish_stop(self) -> None:
        """Waits for the end that `request_stop` asked for; kills it after the limit."""
        limit = self.specification.stop_limit_seconds
        try:
            self.wait_exit(limit)
        except TimeoutError:
            self.kill()
            raise StopLimitError(self.name, limit, self.log_path, self.log_tail()) from None

    def kill(self) -> None:
        """Ends it and everything below it by SIGKILL, and waits until it is gone."""
        if self.running:
            self._end_expected = True
            self._launcher.signal(self._key, signal.SIGKILL, tree=True)
            self.wait_exit(_KILL_LIMIT_SECONDS)

    def pause(self) -> None:
        """Freezes it and everything below it (SIGSTOP)."""
        if self.running and self._launcher.signal(self._key, signal.SIGSTOP, tree=True):
            self.paused = True

    def resume(self) -> None:
        """Lets it and everything below it run again (SIGCONT)."""
        if self.paused and self.running:
            self._launcher.signal(self._key, signal.SIGCONT, tree=True)
        self.paused = False

    def restart(self, specification: ProcessSpecification | None = None) -> None:
        """Stops it, where it runs, starts it again and waits until it is healthy.

        Another specification may take the place of its own; the name stays.
        """
        self.stop()
        if specification is not None:
            if specification.name != self.name:
                message = f"{self.name!r} cannot become {specification.name!r} by a restart"
                raise ValueError(message)
            self.specification = specification
        self.start()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process itself. An end that follows from it counts as a death."""
        if self.running:
            self._launcher.signal(self._key, number, tree=False)

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of its log."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(0, os.SEEK_END)
                log.seek(max(0, log.tell() - _TAIL_BYTES))
                text = log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def ready_line(self) -> Ready | None:
        """The JSON line with ``"ready": true`` that it wrote since its last start, if it did."""
        if self._ready_line is None and self.log_path.exists():
            with self.log_path.open("rb") as log:
                log.seek(self._scanned_bytes)
                complete, newline, _ = log.read().rpartition(b"\n")
            self._scanned_bytes += len(complete) + len(newline)
            lines = (_parse_ready(line) for line in complete.splitlines())
            self._ready_line = next((line for line in lines if line is not None), None)
        return self._ready_line

    def ended(self, exit_code: int) -> None:
        """Takes note of its end. For the supervisor."""
        with self._changed:
            self.exit_code = exit_code
            self.paused = False
            self._changed.notify_all()


def poll_seconds(waited_seconds: float) -> float:
    """How long to wait before the next probe: a twentieth of the wait so far, within bounds.

    What starts in milliseconds is noticed at once, and what takes seconds is not pestered.
    """
    return min(_MOST_POLL_SECONDS, max(_LEAST_POLL_SECONDS, waited_seconds * _POLL_SHARE))


def _parse_ready(line: bytes) -> Ready | None:
    if not line.startswith(b"{"):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and value.get("ready") is True else None
