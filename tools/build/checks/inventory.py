"""Finds files that Bazel's packages do not hand to the checks: inventory.py MANIFEST ANCHOR.

It looks at the real tree, which the anchor (a file at the workspace's root) leads to out of the
sandbox. Bazel cannot know what is in folders without a BUILD file, so this test is never cached.
"""

import os
import pathlib
import sys
from collections.abc import Iterator

from tools.build.checks.manifest import Manifest, read_manifest

SUFFIXES = (".py", ".pyi", ".proto")


def ignored_folders(root: pathlib.Path) -> set[str]:
    """The folders that Bazel itself does not enter."""
    lines = (root / ".bazelignore").read_text().splitlines()
    return {line.strip("/") for line in lines if line and not line.startswith("#")}


def tree(root: pathlib.Path) -> Iterator[str]:
    """The paths of all sources below the root. Hidden folders hold none, only caches."""
    ignored = ignored_folders(root)
    for folder, folders, files in os.walk(root):
        here = pathlib.Path(folder).relative_to(root)
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and name != "__pycache__"
            and (here / name).as_posix() not in ignored
        ]
        yield from ((here / name).as_posix() for name in files if name.endswith(SUFFIXES))


def complaints(manifest: Manifest, root: pathlib.Path) -> list[str]:
    """A sentence for each file that is not in the manifest, and for each that nothing uses."""
    missing = sorted(set(tree(root)) - set(manifest.sources))
    return [*manifest.complaints] + [
        f"{path}: no check sees it. Its package's BUILD file must end with quality(), and"
        f" tools/build/packages.bzl must name the package."
        for path in missing
    ]


def main(manifest: str, anchor: str) -> int:
    """Prints the complaints; 1 when there are some."""
    root = pathlib.Path(os.path.realpath(anchor)).parent
    known = read_manifest(pathlib.Path(manifest))
    found = complaints(known, root)
    print(*found, sep="\n")
    print(f"inventory: {len(known.sources)} files known, {len(found)} complaints")
    return 1 if found or not known.sources else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
