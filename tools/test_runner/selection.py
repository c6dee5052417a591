"""Which targets run, and which of their tests, by what the command line asks for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.test_runner.categories import Category
from tools.test_runner.inventory import TEST_FILE_SUFFIX, TestTarget, markers_in

REAL_SERVICES: Final = "real_services"
"""The marker of tests on real Postgres, Redis and WebSockets, with no part replaced."""


class NoSuchTest(ValueError):
    """A path names no file of tests that a target runs."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What is to run."""

    targets: tuple[TestTarget, ...]
    pytest_arguments: tuple[str, ...] = ()
    """What leaves out the tests of these targets that were not asked for."""
    unmarked: tuple[TestTarget, ...] = ()
    """Targets that were left out since no test of theirs has the marker."""


def select(
    targets: Iterable[TestTarget],
    *,
    workspace: Path,
    category: Category | None = None,
    real_services: bool = False,
    files: Collection[str] = (),
) -> Selection:
    """What is to run: everything that fits all of what was asked for.

    Args:
        targets: all test targets of the workspace.
        workspace: its root.
        category: only targets of this one.
        real_services: only tests with this marker.
        files: only tests in these files, paths in the workspace.

    Raises:
        NoSuchTest: no target runs one of the files.
    """
    chosen = running(files, targets) if files else [t for t in targets if not t.manual]
    if category is not None:
        chosen = [target for target in chosen if target.category == category]
    arguments = _deselections(chosen, files) if files else []
    if not real_services:
        return Selection(tuple(chosen), tuple(arguments))
    marked = [
        target
        for target in chosen
        if any(
            REAL_SERVICES in markers_in(workspace / file)
            for file in target.files
            if not files or file in files
        )
    ]
    return Selection(
        tuple(marked),
        (*arguments, "-m", REAL_SERVICES),
        tuple(target for target in chosen if target not in marked),
    )


def running(files: Collection[str], targets: Iterable[TestTarget]) -> list[TestTarget]:
    """The targets that run at least one of the files.

    A manual target counts where no other runs the file: who names a file wants it run.
    """
    known = list(targets)
    found: set[TestTarget] = set()
    for file in files:
        owners = [target for target in known if file in target.files]
        if not owners:
            raise NoSuchTest(f"no target runs {file}: {_hint(file, known)}")
        found.update([target for target in owners if not target.manual] or owners)
    return [target for target in known if target in found]


def _hint(file: str, targets: Iterable[TestTarget]) -> str:
    if not file.endswith(TEST_FILE_SUFFIX):
        return f"files of tests are named *{TEST_FILE_SUFFIX}"
    package = Path(file).parent
    while package != Path() and not any(_package(target) == str(package) for target in targets):
        package = package.parent
    return f"its BUILD file ({package / 'BUILD'}) must have it in the srcs of a pytest_test"


def _package(target: TestTarget) -> str:
    return target.label.removeprefix("//").partition(":")[0]


def _deselections(targets: Sequence[TestTarget], files: Collection[str]) -> list[str]:
    # By path, exactly; -k would also take files whose names end alike.
    others = {file for target in targets for file in target.files} - set(files)
    return [f"--deselect={file}" for file in sorted(others)]
