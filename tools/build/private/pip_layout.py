"""Lays out a `pip install --target site` as one folder per distribution and writes its BUILD file.

Run by pip_repository in the new repository's root: python -I pip_layout.py requirements.lock
"""

import compileall
import dataclasses
import importlib.metadata
import os
import pathlib
import py_compile
import re
import shutil
import sys
from collections.abc import Iterator


def normalized(name: str) -> str:
    """The distribution's name as labels write it."""
    return re.sub(r"[-_.]+", "_", name).lower()


@dataclasses.dataclass
class Distribution:
    """One installed distribution and where its files now are."""

    name: str
    home: pathlib.Path
    scripts: list[importlib.metadata.EntryPoint]
    programs: list[pathlib.Path] = dataclasses.field(default_factory=list)
    needs: set[str] = dataclasses.field(default_factory=set)


def split(site: pathlib.Path) -> dict[str, Distribution]:
    """Moves each distribution's files to d/NAME-VERSION and its programs to bin/NAME-VERSION.

    The version is in the path because Bazel does not look for changes inside a source folder:
    without it a changed lock would leave results of the old version cached.
    """
    found = {}
    for installed in importlib.metadata.distributions(path=[str(site)]):
        name = normalized(installed.metadata["Name"])
        folder = f"{name}-{installed.version}"
        scripts = [e for e in installed.entry_points if e.group == "console_scripts"]
        found[name] = here = Distribution(name, pathlib.Path("d", folder), scripts)
        generated = {script.name for script in scripts}
        for record in installed.files or []:
            path = pathlib.Path(
                re.sub(r"^(\.\./)+", "", str(record))
            )  # ../../bin: bin/ by --target
            target = here.home / path
            if path.parts[0] == "bin":
                if path.name in generated:  # pip's launcher has this interpreter's path in it
                    continue
                target = pathlib.Path("bin", folder, path.name)
            if (site / path).is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                (site / path).rename(target)
                if path.parts[0] == "bin":
                    here.programs.append(target)
    return found


def requirers(lock: pathlib.Path) -> Iterator[tuple[str, str]]:
    """Yields (parent, child) from the lock's "# via" comments: the resolved graph, with extras."""
    child, via = "", False
    for line in lock.read_text().splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)(\[.*\])?==", line):
            child, via = normalized(match[1]), False
        elif match := re.match(r"\s+# via\s*(.*)$", line):
            via = True
            if match[1]:
                yield normalized(match[1].split("[")[0]), child
        elif via and (match := re.match(r"\s+#   (\S+)", line)):
            yield normalized(match[1].split("[")[0]), child


def closure(name: str, found: dict[str, Distribution]) -> list[str]:
    """All that a distribution needs. Flattened: pip's graph may have cycles, Bazel's may not."""
    seen: set[str] = set()
    todo = [name]
    while todo:
        item = todo.pop()
        if item not in seen:
            seen.add(item)
            todo += found[item].needs
    return sorted(seen)


def rule(kind: str, **attributes: object) -> str:
    """One target in BUILD syntax, which Python's literals are."""
    return f"{kind}({', '.join(f'{key} = {value!r}' for key, value in attributes.items())})"


def targets(dist: Distribution, found: dict[str, Distribution]) -> Iterator[str]:
    """The distribution's own targets."""
    home = str(dist.home)
    private = ["//visibility:private"]
    yield rule("py_library", name=f"_{dist.name}", data=[home], imports=[home], visibility=private)
    needs = [f":_{name}" for name in closure(dist.name, found)]
    yield rule("py_library", name=dist.name, deps=needs)
    for script in dist.scripts:
        main = pathlib.Path("bin", f"{script.name}.py")
        main.parent.mkdir(exist_ok=True)
        imported = f"from {script.module} import {script.attr.split('.')[0]}"
        main.write_text(f"import sys\n{imported}\nsys.exit({script.attr}())\n")
        name = f"bin_{normalized(script.name)}"
        deps = [f":{dist.name}"]
        yield rule("py_binary", name=name, main=str(main), srcs=[str(main)], deps=deps)
    for program in dist.programs:
        yield rule("filegroup", name=f"bin_{normalized(program.name)}", srcs=[str(program)])


def well_known_protos(include: pathlib.Path) -> Iterator[str]:
    """Protobuf's own .proto files, a proto_library each, from the wheel that ships protoc."""
    shutil.copytree(include / "google/protobuf", "wkt/google/protobuf")
    files = sorted(pathlib.Path("wkt/google/protobuf").glob("*.proto"))
    names = {f"google/protobuf/{file.name}": f":{file.stem}_proto" for file in files}
    for file in files:
        imported = re.findall(r'^import (?:public )?"(.+?)";', file.read_text(), re.MULTILINE)
        yield rule(
            "proto_library",
            name=f"{file.stem}_proto",
            srcs=[str(file)],
            deps=[names[name] for name in imported],
            strip_import_prefix="wkt",
        )


def main(lock: pathlib.Path) -> None:
    """Lays out ./site and writes ./BUILD."""
    site = pathlib.Path("site")
    found = split(site)
    shutil.rmtree(site)
    # Sandboxed tests cannot write __pycache__: without this each run compiles what it imports.
    compileall.compile_dir(
        "d",
        quiet=2,
        workers=0,
        ddir=".",
        maxlevels=50,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    for dist in found.values():
        if dist.home.exists():
            os.utime(dist.home, (0, 0))  # fetching the same versions again invalidates nothing
    for parent, child in requirers(lock):
        if parent in found and child in found:
            found[parent].needs.add(child)

    build = ['package(default_visibility = ["//visibility:public"])']
    for _, dist in sorted(found.items()):
        build += targets(dist, found)
    build.append(rule("py_library", name="all", deps=[f":_{name}" for name in sorted(found)]))
    build += well_known_protos(found["grpcio_tools"].home / "grpc_tools/_proto")
    pathlib.Path("BUILD").write_text("\n".join(build) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
