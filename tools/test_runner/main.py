"""Runs a part of this repository's tests: `tools/bazel run //tools/test_runner -- --help`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rich.console import Console

from tools.test_runner.bazel import Bazel
from tools.test_runner.command import ExitCode, main

if __name__ == "__main__":
    workspace = os.environ.get("BUILD_WORKSPACE_DIRECTORY")
    if workspace is None:
        sys.stderr.write("start it by: tools/bazel run //tools/test_runner -- --help\n")
        sys.exit(ExitCode.WRONG_ARGUMENTS)
    sys.exit(main(sys.argv[1:], os.environ, Bazel(Path(workspace)), Console(highlight=False)))
