"""The launcher: a small process that starts, signals and reaps the processes of one supervisor.

It is run as a script and imports the standard library alone. It exists for three reasons.

* When the supervisor's process is gone, by SIGKILL too, its end of the control socket closes. The
  launcher sees that and ends everything below it. `PR_SET_PDEATHSIG` by itself would reach the
  first generation only, and fires when the starting *thread* ends; here the starting thread is the
  launcher's only one.
* It has one thread, so code may run between fork and exec. A test process with gRPC has many.
* It is a subreaper: whatever a process leaves behind, double forks included, becomes its child and
  is ended with the rest.

Should the launcher itself be killed, `PR_SET_PDEATHSIG` ends the processes that it started.

Folders that it has adopted it removes in the end.

Messages are JSON, one a line, in both directions. Requests: `spawn`, `signal`, `adopt`. Answers:
`spawned`, `failed`, `signalled` and `adopted` with the request's number, and, unasked, `exited`
with the process's key.
"""

import contextlib
import ctypes
import json
import os
import pathlib
import pwd
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_ABORT_LIMIT_SECONDS = 0.5
_PARENT_CHECK_SECONDS = 0.5
_RECEIVE_BYTES = 65536

_libc = ctypes.CDLL(None, use_errno=True)


class Launcher:
    """Serves one control socket until it closes, then ends all that it started."""

    def __init__(self, control: socket.socket, parent: int) -> None:
        self._control = control
        self._parent = parent
        self._buffer = b""
        self._adopted: list[str] = []
        self._running: dict[int, tuple[int, subprocess.Popen[bytes], int]] = {}

    def serve(self, woken: socket.socket) -> None:
        """Answers requests and reports exits, until the supervisor is gone."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while os.getppid() == self._parent:
                # The time limit is for a supervisor whose forked child keeps the socket open.
                ready = {key.fileobj for key, _ in selector.select(_PARENT_CHECK_SECONDS)}
                if woken in ready and not set(woken.recv(_RECEIVE_BYTES)) <= {signal.SIGCHLD}:
                    return
                self._reap()
                if self._control in ready and not self._receive():
                    return

    def end_everything(self) -> None:
        """Sends abort signals, then SIGKILL to all that is below, and removes adopted folders."""
        for pid, (_, _, abort_signal) in self._running.items():
            if abort_signal != signal.SIGKILL:
                signal_tree(pid, signal.SIGCONT)
                _kill(pid, abort_signal)
        limit = time.monotonic() + _ABORT_LIMIT_SECONDS
        while time.monotonic() < limit:
            self._reap(report=False)
            if all(abort == signal.SIGKILL for _, _, abort in self._running.values()):
                break
            time.sleep(0.002)
        while children := descendants(os.getpid()):
            for pid in children:
                _kill(pid, signal.SIGKILL)
            self._reap(report=False)
            time.sleep(0.001)
        for folder in self._adopted:
            shutil.rmtree(folder, ignore_errors=True)

    def _receive(self) -> bool:
        try:
            received = self._control.recv(_RECEIVE_BYTES)
        except ConnectionError:
            return False
        *lines, self._buffer = (self._buffer + received).split(b"\n")
        for line in lines:
            self._answer(json.loads(line))
        return bool(received)

    def _answer(self, request: dict[str, Any]) -> None:
        number, key = request["number"], request["key"]
        if request["do"] == "spawn":
            try:
                process = _spawn(request)
            except (OSError, KeyError, subprocess.SubprocessError) as error:
                self._send(event="failed", number=number, reason=str(error))
                return
            self._running[process.pid] = key, process, request["abort_signal"]
            self._send(event="spawned", number=number, pid=process.pid)
            return
        if request["do"] == "adopt":
            self._adopted.append(request["path"])
            self._send(event="adopted", number=number)
            return
        # Only a process that has not been reaped yet: its number cannot belong to another one.
        pid = next((pid for pid, (own, _, _) in self._running.items() if own == key), None)
        if pid is not None:
            send = signal_tree if request["tree"] else _kill
            send(pid, request["signal"])
        self._send(event="signalled", number=number, delivered=pid is not None)

    def _reap(self, *, report: bool = True) -> None:
        for pid in _ended_children():
            if pid not in self._running:
                os.waitpid(pid, 0)
                continue
            # Not reaped yet, so that the number still is this group's and nobody else's.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            key, process, _ = self._running.pop(pid)
            code = process.wait()
            if report:
                self._send(event="exited", key=key, code=code)

    def _send(self, **event: object) -> None:
        # A supervisor that is gone is noticed by the next receive.
        with contextlib.suppress(OSError):
            self._control.sendall(json.dumps(event).encode() + b"\n")


def _spawn(request: dict[str, Any]) -> "subprocess.Popen[bytes]":
    account = pwd.getpwnam(request["user"]) if request["user"] else None
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        return subprocess.Popen(
            request["argv"],
            env=request["env"],
            cwd=request["working_directory"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
            preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 - this process has one thread
        )
    finally:
        os.close(log)


def _die_with(launcher: int) -> "Any":
    """What runs between fork and exec, after the change of user (which would clear it)."""

    def bind() -> None:
        if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
        if os.getppid() != launcher:  # it ended before the line above
            os._exit(1)

    return bind


def signal_tree(root: int, number: int) -> None:
    """Sends a signal to a process and to all below it, whatever group or session they moved to."""
    if number in (signal.SIGKILL, signal.SIGSTOP):
        # Frozen first, parents before children: nothing forks away while the list is being made.
        stopped: set[int] = set()
        while fresh := {root, *descendants(root)} - stopped:
            for pid in fresh:
                _kill(pid, signal.SIGSTOP)
            stopped |= fresh
        targets = stopped
    else:
        targets = {root, *descendants(root)}
    for pid in targets:
        _kill(pid, number)


def descendants(root: int) -> list[int]:
    """The numbers of all living processes below `root`, zombies left out."""
    children: dict[int, list[int]] = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # The command's name stands in parentheses and may hold anything.
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                if fields[0] != b"Z":
                    children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    todo = [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _ended_children() -> Iterator[int]:
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None:
            return
        yield ended.si_pid


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def main() -> NoReturn:
    """Runs the launcher on the socket whose descriptor is given, for the given parent."""
    control, parent = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    # Children must not hold it: it would never close.
    control.set_inheritable(False)
    woken, waker = socket.socketpair()
    for end in (woken, waker):
        end.setblocking(False)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    launcher = Launcher(control, parent)
    try:
        launcher.serve(woken)
    finally:
        launcher.end_everything()
    sys.exit(0)


if __name__ == "__main__":
    main()
