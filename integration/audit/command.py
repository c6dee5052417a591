"""The command line of an audit, for whatever adapter its caller brings."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from integration.audit.adapter import Adapter
from integration.audit.errors import HistoryError, PlanError, ReportDirectoryError
from integration.audit.folder import fresh_report_folder
from integration.audit.history import HistoryWriter
from integration.audit.pages import HTML_NAME, write_json, write_report
from integration.audit.population import AuditPlan
from integration.audit.records import NoteKind
from integration.audit.report import Report, check_history
from integration.audit.runner import HISTORY_NAME, run_audit
from integration.audit.system import SystemDescription
from integration.audit.terminal import LiveProgress, show
from integration.audit.vocabulary import ExitCode

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
) -> int:
    """Do what a command line asks for, and give the exit code.

    `check HISTORY` judges a history again; anything else runs an audit. 0 PASS, 10 LEAK, 11 LOSS,
    12 INCONCLUSIVE, 64 wrong arguments (EX_USAGE).
    """
    try:
        if list(arguments[:1]) == ["check"]:
            return _check(arguments[1:], program)
        return _run(arguments, program, open_adapter, leaks)
    except (_UsageError, PlanError, ReportDirectoryError, HistoryError, OSError) as error:
        sys.stderr.write(f"{program}: {error}\n")
        return ExitCode.USAGE


def _check(arguments: Sequence[str], program: str) -> int:
    parser = _Parser(prog=f"{program} check", description="Judge a history again.")
    parser.add_argument("history", metavar="HISTORY", help="a history.jsonl")
    parser.add_argument("--json", metavar="FILE", help="write the report as JSON")
    options = _parsed(parser, arguments)
    json_path = _json_path(options.json)
    report = check_history(_typed_path(options.history))
    if json_path is not None:
        write_json(report, json_path)
    show(report, Console())
    return report.verdict.exit_code


def _run(
    arguments: Sequence[str],
    program: str,
    open_adapter: OpenAdapter,
    leaks: Sequence[SeededLeak],
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
    json_path = _json_path(options.json)
    directory = fresh_report_folder(_typed_path(options.report))
    console = Console()
    report = _audit(Launch(options.leak, directory, plan), program, open_adapter, console)
    write_report(report, directory)
    if json_path is not None:
        write_json(report, json_path)
    show(report, console)
    console.print(f"report: {directory / HTML_NAME}", highlight=False, soft_wrap=True)
    return report.verdict.exit_code


def _audit(launch: Launch, program: str, open_adapter: OpenAdapter, console: Console) -> Report:
    """Run an audit to a report, whatever happens: a system that does not start is inconclusive."""
    path = launch.directory / HISTORY_NAME
    report: Report | None = None

    async def opened() -> None:
        nonlocal report
        async with open_adapter(launch) as adapter:
            report = await run_audit(adapter, launch.plan, launch.directory, progress)

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
            with HistoryWriter(path, description, launch.plan) as history:
                history.note(NoteKind.ADAPTER, "the system could not be opened")
        report = check_history(path)
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


def _json_path(text: str | None) -> Path | None:
    """Give the path of `--json`, which must be writable before anything runs."""
    if text is None:
        return None
    path = _typed_path(text)
    with path.open("a", encoding="utf-8"):
        return path
