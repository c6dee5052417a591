"""Bazel, started from a program that `bazel run` started."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

_QUERY_LIMIT_SECONDS: Final = 300

# The wrapper marks its own environment, so as not to start itself; and what `bazel run` and a
# py_binary set for their program would only confuse another.
_OURS: Final = ("WATERTIGHT_BAZEL_WRAPPER", "PYTHONPATH", "RUNFILES_", "BUILD_WORK", "TEST_")


class BazelFailed(Exception):
    """Bazel could not answer; what it wrote has been shown."""

    def __init__(self, code: int) -> None:
        super().__init__(f"bazel query failed with {code}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Bazel:
    """The workspace's own wrapper. `bazel run` lets go of its server before it starts a program."""

    workspace: Path

    def query(self, expression: str) -> bytes:
        """What `bazel query --output=xml` says.

        Raises:
            BazelFailed: for instance since a BUILD file is broken.
        """
        ended = subprocess.run(
            [*self._program(), "query", "--noshow_progress", "--output=xml", expression],
            cwd=self.workspace,
            env=passed_on(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=_QUERY_LIMIT_SECONDS,
            check=False,
        )
        if ended.returncode != 0:
            raise BazelFailed(ended.returncode)
        return ended.stdout

    def test(self, arguments: Sequence[str]) -> int:
        """Runs `bazel test` in the foreground, and gives its exit code."""
        process = subprocess.Popen(
            [*self._program(), "test", *arguments],
            cwd=self.workspace,
            env=passed_on(os.environ),
            stdin=subprocess.DEVNULL,
        )
        with _interrupted_together(process):
            return process.wait()

    def _program(self) -> list[str]:
        return [str(self.workspace / "tools/bazel")]


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """What of this program's environment is for another Bazel."""
    return {name: value for name, value in environment.items() if not name.startswith(_OURS)}


@contextmanager
def _interrupted_together(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Ctrl-C reaches Bazel by itself, which then ends its tests and reports; a kill is passed on.

    Either way this program goes on, to say what there was until then.
    """

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        """Do nothing: the terminal has told Bazel, too."""

    def terminate(_signal: int, _frame: FrameType | None) -> None:
        process.send_signal(signal.SIGINT)

    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, interrupt),
        signal.SIGTERM: signal.signal(signal.SIGTERM, terminate),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
