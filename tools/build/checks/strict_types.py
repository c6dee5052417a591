"""Runs mypy on every Python file, with the locked packages' types: strict_types.py MANIFEST."""

import os
import pathlib
import sys

import mypy.api

from tools.build.checks.manifest import read_manifest

# Imports are rooted at the workspace; generated protobuf modules at contracts/proto.
ROOTS = (".", "contracts/proto")


def third_party_only() -> None:
    """Takes this program's own roots off sys.path.

    mypy reads installed packages' types from there, and refuses a folder that is both installed and
    checked.
    """
    own = {os.path.realpath(root) for root in (*ROOTS, "..")}
    sys.path[:] = [path for path in sys.path if os.path.realpath(path) not in own]


def main(manifest: str) -> int:
    """Runs mypy and gives its exit code; 1 when there was nothing to run it on."""
    files = read_manifest(pathlib.Path(manifest)).python
    if not files:
        print("no Python file in the manifest: nothing was checked", file=sys.stderr)
        return 1
    third_party_only()
    os.environ["MYPYPATH"] = os.pathsep.join(ROOTS)
    cache = pathlib.Path(os.environ["TEST_TMPDIR"], "mypy")
    options = ["--config-file=pyproject.toml", f"--cache-dir={cache}", "--no-error-summary"]
    report, complaint, code = mypy.api.run([*options, *files])
    print(report, complaint, sep="", end="")
    print(f"mypy: {len(files)} files, exit code {code}")
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
