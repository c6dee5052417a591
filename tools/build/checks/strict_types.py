"""Runs mypy on every Python file, with the locked packages' types: strict_types.py MANIFEST."""

import os
import pathlib
import site
import sys
import tempfile
from collections.abc import Iterable, Sequence

import mypy.api

from tools.build.checks.manifest import read_manifest

# Imports are rooted at the workspace; generated protobuf modules at contracts/proto.
ROOTS = (".", "contracts/proto")


def merge(folders: Sequence[pathlib.Path], target: pathlib.Path) -> None:
    """Links the folders' contents into one, as they would lie in a site-packages folder.

    mypy gives up on namespace packages (google, opentelemetry) that lie in several folders.
    """
    target.mkdir(parents=True)
    holders: dict[str, list[pathlib.Path]] = {}
    for folder in folders:
        for entry in folder.iterdir():
            holders.setdefault(entry.name, []).append(entry)
    for name, entries in holders.items():
        if len(entries) > 1 and all(entry.is_dir() for entry in entries):
            merge(entries, target / name)
        else:
            (target / name).symlink_to(entries[0].resolve())


def locked_packages(paths: Iterable[str]) -> list[pathlib.Path]:
    """The folders of @pypi's distributions on the import path."""
    return [pathlib.Path(path) for path in paths if "pypi" in pathlib.Path(path).parts]


def check(files: Sequence[str], folder: pathlib.Path) -> int:
    """Runs mypy and gives its exit code."""
    packages = folder / "site-packages"
    merge(locked_packages(sys.path), packages)
    # Where mypy looks for installed packages' types. Without it the machine's own would count.
    site.getsitepackages = lambda prefixes=None: [str(packages)]  # noqa: ARG005 - its signature
    standard = [path for path in sys.path if path.startswith(sys.base_prefix)]
    sys.path[:] = [*standard, str(packages)]
    os.environ["MYPYPATH"] = os.pathsep.join(ROOTS)
    options = ["--config-file=pyproject.toml", f"--cache-dir={folder / 'cache'}"]
    report, complaint, code = mypy.api.run([*options, "--no-error-summary", *files])
    print(report, complaint, sep="", end="")
    return code


def main(manifest: str) -> int:
    """Checks the manifest's files; 1 when there is none."""
    files = read_manifest(pathlib.Path(manifest)).python
    if not files:
        print("no Python file in the manifest: nothing was checked", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        code = check(files, pathlib.Path(folder))
    print(f"mypy: {len(files)} files, exit code {code}")
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
