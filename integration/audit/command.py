"""The command line of an audit, for whatever adapter its caller brings."""

import argparse
import asyncio
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from integration.audit.adapter import Adapter
from integration.audit.errors import (
    HistoryError,
    JsonFileError,
    PlanError,
    ReportDirectoryError,
)
from integration.audit.folder import fresh_report_folder, judged_report_folder
from integration.audit.history import HistoryWriter
from integration.audit.json_file import JsonFile
from integration.audit.pages import HTML_NAME, JSON_NAME, write_html, write_json
from integration.audit.population import AuditPlan
from integration.audit.records import NoteKind
from integration.audit.report import Report, check_history
from integration.audit.runner import HISTORY_NAME, run_audit
from integration.audit.system import SystemDescription
from integration.audit.terminal import LiveProgress, Terminal, discard_output, show
from integration.audit.vocabulary import ExitCode, Verdict

DEFAULT_REPORT = "audit-report"


@dataclass(frozen=True, slots=True)
class SeededLeak:
    """A leak that can be put into the system on purpose."""

    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Launch:
    """What an adapter's opener is told."""

    leak: str | None
    directory: Path
    """The report's folder; logs may be kept in it."""
    plan: AuditPlan


OpenAdapter = Callable[[Launch], AbstractAsyncContextManager[Adapter]]
"""Starts a system, and gives its adapter for as long as it runs."""


class _UsageError(Exception):
    pass


class _Parser(argparse.ArgumentParser):
    """Leaves with 64 where argparse would with 2, which Bazel uses itself."""

    def error(self, message: str) -> NoReturn:
        raise _UsageError(message)


def _parsed(parser: _Parser, arguments: Sequence[str]) -> argparse.Namespace:
    # Python 3.11's argparse takes it for the end of the options, and the value for an empty list.
    if any(argument.endswith("=--") for argument in arguments):
        parser.error("expected a value after '=', got '--'")
    return parser.parse_args(arguments)


def main(
    arguments: Sequence[str],
    *,
    program: str,
    open_adapter: OpenAdapter,
    leaks: Sequence[SeededLeak] = (),
    typed: str = "",
) -> int:
    """Do what a command line asks for, and give the exit code.

    `typed` is what people type before the arguments, where that is not the program's name: the
    report says by it how to repeat the audit.

    `check HISTORY` judges a history again; anything else runs an audit. 0 PASS, 10 LEAK, 11 LOSS,
    12 INCONCLUSIVE, 64 wrong arguments (EX_USAGE).
    """
    try:
        if list(arguments[:1]) == ["check"]:
            return _check(arguments[1:], program)
        return _run(arguments, program, open_adapter, leaks, typed or program)
    except (_UsageError, PlanError, ReportDirectoryError, JsonFileError, HistoryError) as error:
        _complain(program, str(error))
        return ExitCode.USAGE


def _check(arguments: Sequence[str], program: str) -> int:
    parser = _Parser(prog=f"{program} check", description="Judge a history again.")
    parser.add_argument("history", metavar="HISTORY", help="a history.jsonl")
    parser.add_argument("--json", metavar="FILE", help="write the report as JSON")
    options = _parsed(parser, arguments)
    history = _typed_path(options.history)
    json_file = _json_file(options.json)
    if json_file is not None and json_file.path.resolve() == history.resolve():
        raise JsonFileError(options.json, "it is the history that is to be judged")
    with json_file or nullcontext():
        try:
            report = check_history(history)
        except OSError as error:
            raise _UsageError(str(error)) from error
    if json_file is not None:
        _write(program, json_file.path, partial(json_file.write, report))
    _print(program, partial(show, report, Terminal()))
    return report.verdict.exit_code


def _run(
    arguments: Sequence[str],
    program: str,
    open_adapter: OpenAdapter,
    leaks: Sequence[SeededLeak],
    typed: str,
) -> int:
    options = _parsed(_parser(program), arguments)
    if options.list_leaks:
        width = max((len(leak.name) for leak in leaks), default=0)
        for leak in leaks:
            sys.stdout.write(f"{leak.name:{width}}  {leak.description}\n")
        return 0
    names = [leak.name for leak in leaks]
    if options.leak is not None and options.leak not in names:
        raise _UsageError(
            f"--leak {options.leak!r} is not one of: {', '.join(names) or 'none are known'}"
        )
    plan = AuditPlan(
        options.tenants, options.users, options.threads, options.operations, options.seed
    )
    directory = judged_report_folder(_typed_path(options.report))
    json_file = _json_file(options.json)
    inside = json_file is not None and json_file.belongs_to(directory)
    if inside:
        fresh_report_folder(directory)
    terminal = Terminal()
    try:
        with json_file or nullcontext():
            if not inside:
                fresh_report_folder(directory)
            launch = Launch(options.leak, directory, plan)
            report = _audit(
                launch, open_adapter, terminal, program=program, typed=[typed, *arguments]
            )
    except (OSError, HistoryError) as error:
        _complain(program, f"there is no history to judge: {error}")
        return Verdict.INCONCLUSIVE.exit_code
    _write(program, directory / JSON_NAME, partial(write_json, report, directory / JSON_NAME))
    _write(program, directory / HTML_NAME, partial(write_html, report, directory / HTML_NAME))
    if json_file is not None:
        _write(program, json_file.path, partial(json_file.write, report))
    _print(program, partial(_tell, report, directory, terminal))
    return report.verdict.exit_code


def _tell(report: Report, directory: Path, console: Console) -> None:
    show(report, console)
    if (directory / HTML_NAME).exists():
        console.print(f"report: {directory / HTML_NAME}", highlight=False, soft_wrap=True)


def _write(program: str, path: Path, write: Callable[[], None]) -> None:
    """Write a file of the report. Where that fails it is said, and the verdict stands."""
    try:
        write()
    except OSError as error:
        _complain(program, f"{path} was not written: {error.strerror or error}")
        # Half a file would be taken for a whole one.
        if path.is_file():
            path.unlink()


def _print(program: str, print_report: Callable[[], None]) -> None:
    try:
        print_report()
    except OSError as error:
        discard_output()
        _complain(program, f"the report was not shown: {error.strerror or error}")


def _complain(program: str, message: str) -> None:
    sys.stderr.write(f"{program}: {message}\n")


def _audit(
    launch: Launch,
    open_adapter: OpenAdapter,
    console: Console,
    *,
    program: str,
    typed: Sequence[str],
) -> Report:
    """Run an audit to a report, whatever happens: a system that does not start is inconclusive."""
    path = launch.directory / HISTORY_NAME
    before, *arguments = typed
    command = " ".join([before, *map(shlex.quote, arguments)])
    report: Report | None = None

    async def opened() -> None:
        nonlocal report
        async with open_adapter(launch) as adapter:
            report = await run_audit(
                adapter, launch.plan, launch.directory, progress, command=command, program=before
            )

    fault = ""
    with LiveProgress(console) as progress:
        try:
            asyncio.run(opened())
        except KeyboardInterrupt:
            fault = "the audit was interrupted"
        except Exception as error:  # noqa: BLE001 - whatever stops it, people get a report
            fault = f"{type(error).__name__}: {error}"
    if report is None:
        if not path.exists():
            description = SystemDescription(program, (), ())
            with HistoryWriter(
                path, description, launch.plan, command=command, program=before
            ) as history:
                history.note(NoteKind.ADAPTER, "the system could not be opened")
        try:
            report = check_history(path)
        except HistoryError as error:
            raise HistoryError(path, fault or error.reason) from error
    return report.with_reason(fault) if fault else report


def _parser(program: str) -> _Parser:
    defaults = AuditPlan()
    parser = _Parser(
        prog=program,
        allow_abbrev=False,
        description="Drive a system, and prove whether anybody observes what belongs to another.",
        epilog="Exit codes: 0 PASS, 10 LEAK, 11 LOSS, 12 INCONCLUSIVE, 64 wrong arguments. "
        f"`{program} check HISTORY` judges a history again.",
    )
    for name, meaning in (
        ("tenants", "tenants, all with the same log-in names"),
        ("users", "members of each tenant"),
        ("threads", "threads of each member"),
        ("operations", "operations of the workload"),
        ("seed", "everything that is sent follows from it"),
    ):
        default = getattr(defaults, name)
        text = f"{meaning} (default {default})"
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=text)
    parser.add_argument(
        "--report",
        default=DEFAULT_REPORT,
        metavar="DIR",
        help=f"folder for report and history, replaced whole (default {DEFAULT_REPORT})",
    )
    parser.add_argument("--json", metavar="FILE", help="write the report as JSON")
    parser.add_argument("--leak", metavar="NAME", help="put a seeded leak into the system first")
    parser.add_argument("--list-leaks", action="store_true", help="list the seeded leaks")
    return parser


def _typed_path(text: str) -> Path:
    """Resolve a path from where the command was typed, which `bazel run` tells."""
    return Path(os.environ.get("BUILD_WORKING_DIRECTORY", ".")) / text


def _json_file(text: str | None) -> JsonFile | None:
    return None if text is None else JsonFile(text, _typed_path(text))
