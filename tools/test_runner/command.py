"""The command line: `tools/bazel run //tools/test_runner -- [options] [-- bazel's options]`."""

from __future__ import annotations

import argparse
import enum
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn, Protocol

from rich.console import Console

from tools.test_runner.bazel import BazelFailed
from tools.test_runner.categories import Category, NoCategory
from tools.test_runner.inventory import QUERY, read_targets
from tools.test_runner.selection import REAL_SERVICES, NoSuchTest, Selection, select
from tools.test_runner.summary import Summary, show, summarised

_EPILOGUE: Final = """\
Exit codes: 0 all passed; 64 wrong arguments; 65 recorded metrics that cannot be read;
66 nothing to run; any other is Bazel's own (3: tests failed, 1: the build failed).
Options of `bazel test` may follow a second `--`.
"""


class ExitCode(enum.IntEnum):
    """What this program adds to Bazel's own codes; numbers of sysexits(3)."""

    PASSED = 0
    WRONG_ARGUMENTS = 64
    METRICS_UNREADABLE = 65
    NOTHING_TO_RUN = 66


class RunsTests(Protocol):
    """What of Bazel is used."""

    def query(self, expression: str) -> bytes:
        """The XML that answers a query."""

    def test(self, arguments: Sequence[str]) -> int:
        """Runs `bazel test`; its exit code."""


class UsageError(Exception):
    """The command line asks for what there is not."""


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    category: Category | None
    real_services: bool
    files: tuple[str, ...]
    list_only: bool
    bazel: tuple[str, ...]


class _Parser(argparse.ArgumentParser):
    """Leaves with 64 where argparse would with 2, which Bazel uses itself."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def main(
    arguments: Sequence[str], environment: Mapping[str, str], bazel: RunsTests, console: Console
) -> int:
    """Runs what the arguments say, and gives the program's exit code.

    Args:
        arguments: the command line without the program's name.
        environment: with `bazel run`'s BUILD_WORKSPACE_DIRECTORY and BUILD_WORKING_DIRECTORY.
        bazel: of the workspace.
        console: for the list or the summary.
    """
    workspace = Path(environment["BUILD_WORKSPACE_DIRECTORY"]).resolve()
    typed_in = Path(environment.get("BUILD_WORKING_DIRECTORY", workspace))
    try:
        options = parsed(arguments, workspace, typed_in)
        selection = select(
            read_targets(bazel.query(QUERY)),
            workspace=workspace,
            category=options.category,
            real_services=options.real_services,
            files=options.files,
        )
    except (UsageError, NoSuchTest) as error:
        console.print(f"test_runner: {error}", markup=False, soft_wrap=True)
        return ExitCode.WRONG_ARGUMENTS
    except NoCategory as error:
        console.print(f"test_runner: {error}", markup=False, soft_wrap=True)
        return ExitCode.NOTHING_TO_RUN
    except BazelFailed as error:
        return error.code
    if not selection.targets:
        console.print(f"test_runner: nothing to run: {_asked(options)}", soft_wrap=True)
        return ExitCode.NOTHING_TO_RUN
    if options.list_only:
        for target in selection.targets:
            console.print(f"{target.label}  {target.category}", markup=False, soft_wrap=True)
        return ExitCode.PASSED
    return _run(options, selection, bazel, console)


def parsed(arguments: Sequence[str], workspace: Path, typed_in: Path) -> Options:
    """The command line, understood.

    Args:
        arguments: the command line without the program's name.
        workspace: the repository's root.
        typed_in: the folder that relative paths are of, beside the workspace.

    Raises:
        UsageError: it is wrong.
    """
    ours, theirs = _split(arguments)
    parser = _Parser(
        prog="test_runner",
        description="Runs a part of this repository's tests, by `bazel test`.",
        epilog=_EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--category", choices=[str(c) for c in Category], help="only tests of this category"
    )
    parser.add_argument(
        "--real-services",
        action="store_true",
        help=f"only tests with the marker {REAL_SERVICES}; there are no unreal services",
    )
    parser.add_argument(
        "--test-file", action="append", default=[], metavar="PATH", help="only this file's tests"
    )
    parser.add_argument("--list", action="store_true", help="say what would run, and run nothing")
    found = parser.parse_args(ours)
    return Options(
        category=None if found.category is None else Category(found.category),
        real_services=found.real_services,
        files=tuple(_in_workspace(path, workspace, typed_in) for path in found.test_file),
        list_only=found.list,
        bazel=tuple(theirs),
    )


def _split(arguments: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    if "--" not in arguments:
        return arguments, ()
    at = list(arguments).index("--")
    return arguments[:at], arguments[at + 1 :]


def _in_workspace(path: str, workspace: Path, typed_in: Path) -> str:
    for base in (typed_in, workspace):
        candidate = (base / path).resolve()
        if candidate.is_file():
            if not candidate.is_relative_to(workspace):
                raise UsageError(f"{path}: is not in this repository, {workspace}")
            return candidate.relative_to(workspace).as_posix()
    raise UsageError(
        f"{path}: there is no such file; expected a path from here or from the repository's root,"
        f" such as services/backend/tests/edge_test.py"
    )


def _asked(options: Options) -> str:
    wanted = []
    if options.category:
        wanted.append(f"of category {options.category}")
    if options.real_services:
        wanted.append(f"with the marker {REAL_SERVICES}")
    if options.files:
        wanted.append(f"in {', '.join(options.files)}")
    return f"no target has tests {', '.join(wanted)}"


def _run(options: Options, selection: Selection, bazel: RunsTests, console: Console) -> int:
    with tempfile.TemporaryDirectory(prefix="test_runner-") as folder:
        events = Path(folder, "events.json")
        code = bazel.test(
            [
                "--keep_going",
                f"--build_event_json_file={events}",
                *(f"--test_arg={argument}" for argument in selection.pytest_arguments),
                *options.bazel,
                "--",
                *(target.label for target in selection.targets),
            ]
        )
        summary = summarised(events)
    show(summary, console)
    if selection.unmarked:
        console.print(
            f"{len(selection.unmarked)} targets were left out:"
            f" none of their tests has the marker {REAL_SERVICES}",
            soft_wrap=True,
        )
    return _judged(code, summary)


def _judged(code: int, summary: Summary) -> int:
    if code != ExitCode.PASSED:
        return code
    if summary.complaints:
        return ExitCode.METRICS_UNREADABLE
    # Bazel is content with targets whose tests were all left out.
    return ExitCode.PASSED if summary.total.passed else ExitCode.NOTHING_TO_RUN
