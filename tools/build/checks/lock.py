"""Finds where requirements.in and requirements.lock disagree, without a network.

lock.py REQUIREMENTS LOCK: each requirement must be satisfied by the lock; each entry of the lock
must carry hashes and be needed, directly or through the metadata of what is installed; and
everything that the metadata needs must be in the lock. The installed packages are the lock's: pip
put them there.
"""

import dataclasses
import importlib.metadata
import pathlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

MEND = "Run `tools/bazel run //tools/build:lock` and commit the result."

# The lock serves every 3.11. uv resolves it for the oldest, which needs what later ones bring.
RESOLVED_FOR = {"python_full_version": "3.11.0", "python_version": "3.11"}

Needs = Callable[[str], list[Requirement]]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One pinned package of the lock."""

    version: Version
    hashes: int


def requirements(text: str) -> list[Requirement]:
    """The lines of requirements.in."""
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line]


def locked(text: str) -> dict[NormalizedName, Entry]:
    """The lock's entries, by canonical name."""
    entries = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", text):
        if match := re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", block):
            hashes = len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", block))
            entries[canonicalize_name(match[1])] = Entry(Version(match[2]), hashes)
    return entries


def installed_needs(name: str) -> list[Requirement]:
    """What an installed distribution says it needs, extras' needs included."""
    return [Requirement(line) for line in importlib.metadata.requires(name) or []]


def applies(need: Requirement, extras: set[str]) -> bool:
    """Whether a need holds, here or for the resolver, with one of the extras asked for."""
    marker = need.marker
    return marker is None or any(
        marker.evaluate({**environment, "extra": extra})
        for extra in extras | {""}
        for environment in ({}, RESOLVED_FOR)
    )


def walk(
    roots: list[Requirement], entries: Mapping[NormalizedName, Entry], needs: Needs
) -> Iterator[str]:
    """Yields a complaint for each unmet need, then for each superfluous entry."""
    extras: dict[NormalizedName, set[str]] = {}
    todo: list[tuple[str, Requirement]] = [
        ("requirements.in", root) for root in roots if applies(root, set())
    ]
    while todo:
        parent, need = todo.pop()
        name = canonicalize_name(need.name)
        entry = entries.get(name)
        if entry is None:
            yield f"{parent} needs {need.name}, which the lock does not have"
            continue
        if not need.specifier.contains(entry.version, prereleases=True):
            yield f"{parent} needs {need}, but the lock has {name}=={entry.version}"
        if name in extras and need.extras <= extras[name]:
            continue
        extras[name] = extras.get(name, set()) | need.extras
        todo += [(name, other) for other in needs(name) if applies(other, extras[name])]
    for name in sorted(set(entries) - set(extras)):
        yield f"the lock has {name}, which nothing needs"


def complaints(requirements_text: str, lock_text: str, needs: Needs = installed_needs) -> list[str]:
    """A sentence for each disagreement."""
    entries = locked(lock_text)
    found = [f"{name} has no hash in the lock" for name, e in entries.items() if not e.hashes]
    roots = requirements(requirements_text)
    if not roots or not entries:
        found.append("requirements or lock are empty: nothing was checked")
    return sorted({*found, *walk(roots, entries, needs)})


def main(requirements_path: str, lock_path: str) -> int:
    """Prints the complaints; 1 when there are some."""
    lock_text = pathlib.Path(lock_path).read_text()
    found = complaints(pathlib.Path(requirements_path).read_text(), lock_text)
    print(*found, sep="\n")
    print(f"lock: {len(locked(lock_text))} packages, {len(found)} disagreements")
    if found:
        print(MEND)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
