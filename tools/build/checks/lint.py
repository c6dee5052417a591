"""Runs ruff on every Python file: lint.py MANIFEST RUFF SUBCOMMAND [OPTION...]."""

import pathlib
import subprocess
import sys
from collections.abc import Sequence

from tools.build.checks.manifest import read_manifest

LIMIT_SECONDS = 50


def main(manifest: str, ruff: str, *subcommand: str) -> int:
    """Runs ruff and gives its exit code; 1 when there was nothing to run it on."""
    files: Sequence[str] = read_manifest(pathlib.Path(manifest)).python
    if not files:
        print("no Python file in the manifest: nothing was checked", file=sys.stderr)
        return 1
    command = [ruff, *subcommand, "--no-cache", "--config=pyproject.toml", *files]
    code = subprocess.run(command, timeout=LIMIT_SECONDS, check=False).returncode
    print(f"ruff {subcommand[0]}: {len(files)} files, exit code {code}")
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
