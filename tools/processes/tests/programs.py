"""Small real programs for the tests of this room, and waiting for what they do."""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tools.processes import ProcessSpecification

READY = """import json, os
os.write(1, json.dumps({"ready": True, "pid": os.getpid()}).encode() + b"\\n")"""
SLEEP = "import time; time.sleep(600)"


def program(
    name: str,
    *lines: str,
    depends_on: Sequence[str] = (),
    env: dict[str, str] | None = None,
    health_limit_seconds: float = 10.0,
    stop_limit_seconds: float = 5.0,
) -> ProcessSpecification:
    """A process that runs these lines of Python."""
    return ProcessSpecification(
        name=name,
        argv=[sys.executable, "-I", "-S", "-c", "\n".join(lines)],
        env=env or {},
        depends_on=depends_on,
        health_limit_seconds=health_limit_seconds,
        stop_limit_seconds=stop_limit_seconds,
    )


def server(name: str, *lines: str, depends_on: Sequence[str] = ()) -> ProcessSpecification:
    """A process that runs these lines, says that it is ready, and stays."""
    return program(name, *lines, READY, SLEEP, depends_on=depends_on)


def alive(pid: int) -> bool:
    """Whether a process of that number exists and is more than a zombie."""
    return state(pid) not in {"", "Z", "X"}


def state(pid: int) -> str:
    """The kernel's letter for a process's state; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def eventually(condition: Callable[[], bool], limit_seconds: float = 5.0) -> bool:
    """Whether the condition becomes true within the limit."""
    deadline = time.monotonic() + limit_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True
