"""Runs a part of this repository's tests: `tools/bazel run //tools/test_runner -- --help`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from rich.console import Console

from tools.test_runner.bazel import Bazel
from tools.test_runner.command import ExitCode, main

_WIDTH_WITHOUT_TERMINAL: Final = 120


def _console() -> Console:
    width = None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL
    return Console(highlight=False, width=width)


if __name__ == "__main__":
    workspace = os.environ.get("BUILD_WORKSPACE_DIRECTORY")
    if workspace is None:
        sys.stderr.write("start it by: tools/bazel run //tools/test_runner -- --help\n")
        sys.exit(ExitCode.WRONG_ARGUMENTS)
    sys.exit(main(sys.argv[1:], os.environ, Bazel(Path(workspace)), _console()))
