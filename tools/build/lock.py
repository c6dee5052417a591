"""Resolves requirements.in into requirements.lock: `tools/bazel run //tools/build:lock`.

Needs the network. Options of `uv pip compile` may follow `--`: `--upgrade` takes the newest
versions (without it those in the lock stay), `--upgrade-package NAME` that of one.
"""

import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence

LIMIT_SECONDS = 600


def main(uv: str, *options: str) -> int:
    """Runs uv in the workspace and gives its exit code."""
    program = str(pathlib.Path(uv).resolve())
    command: Sequence[str] = [
        program,
        "pip",
        "compile",
        "--quiet",
        "--generate-hashes",
        "--python-version=3.11",
        "--custom-compile-command=tools/bazel run //tools/build:lock",
        "--output-file=requirements.lock",
        "requirements.in",
        *options,
    ]
    workspace = os.environ["BUILD_WORKSPACE_DIRECTORY"]
    return subprocess.run(command, cwd=workspace, timeout=LIMIT_SECONDS, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
