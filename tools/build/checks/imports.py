"""Holds every import against the table of rooms: imports.py MANIFEST ROOMS_JSON.

Bazel's visibility judges dependencies between targets; a namespace package would still let a file
import what another target brought along. This reads the imports themselves.
"""

import ast
import dataclasses
import json
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence

from tools.build.checks.manifest import read_manifest

# The generated packages' top level, and the room that their sources are in.
GENERATED_ROOT = "watertight"
GENERATED_ROOM = "contracts/proto"


@dataclasses.dataclass(frozen=True)
class Rooms:
    """The table of //tools/build:rooms.bzl."""

    allowed: Mapping[str, Sequence[str]]
    test_tools: Sequence[str]

    def of(self, path: str) -> str | None:
        """The room that a path is in: the longest one that it begins with."""
        rooms = [room for room in self.allowed if path == room or path.startswith(f"{room}/")]
        return max(rooms, key=len, default=None)

    def may_import(self, path: str, room: str) -> bool:
        """Whether the file at a path may import from a room."""
        own = self.of(path)
        if own is None:
            return False
        parts = pathlib.PurePosixPath(path).parts
        for_tests = "tests" in parts or parts[-1] == "local.py"
        return room == own or room in self.allowed[own] or (for_tests and room in self.test_tools)


def imported_modules(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of each module that is imported, also by importlib with a literal name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from services import auth` imports services.auth.
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            literals = [a.value for a in node.args if isinstance(a, ast.Constant)]
            yield from ((node.lineno, name) for name in literals if isinstance(name, str))


def imported_room(rooms: Rooms, module: str) -> str | None:
    """The room that a module is in; nothing for other people's modules."""
    if module.split(".", maxsplit=1)[0] == GENERATED_ROOT:
        return GENERATED_ROOM
    return rooms.of(module.replace(".", "/"))


def complaints(rooms: Rooms, path: str, source: str) -> list[str]:
    """A sentence for each import of a file that the table does not allow."""
    if rooms.of(path) is None:
        return [f"{path}: is in no room of tools/build/rooms.bzl"]
    found = []
    for line, module in imported_modules(source):
        room = imported_room(rooms, module)
        if room and not rooms.may_import(path, room):
            allowed = ", ".join(rooms.allowed[rooms.of(path) or ""]) or "no other room"
            found.append(
                f"{path}:{line}: imports {module}, but {rooms.of(path)} may not import {room}"
                f" (tools/build/rooms.bzl allows it {allowed})"
            )
    return found


def main(manifest: str, table: str) -> int:
    """Prints the complaints; 1 when there are some."""
    rooms = Rooms(**json.loads(pathlib.Path(table).read_text()))
    files = read_manifest(pathlib.Path(manifest)).python
    found = [
        text for path in files for text in complaints(rooms, path, pathlib.Path(path).read_text())
    ]
    print(*found, sep="\n")
    print(f"imports: {len(files)} files, {len(found)} forbidden imports")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
