"""Runs pytest on the files in argv, by Bazel's test protocol: shards, filter, XML, coverage."""

import os
import pathlib
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence

import pytest

CONFIGURATION = "pyproject.toml"


class Selection:
    """Keeps a shard's tests, and counts what filters left out of them.

    A shard is every n-th collected test: round robin, since hashing leaves small shards empty.
    """

    def __init__(self, index: int = 0, total: int = 1) -> None:
        self.index = index
        self.total = total
        self.collected = 0
        self.deselected = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Drop the other shards' tests, before any filter."""
        self.collected = len(items)
        items[:] = items[self.index :: self.total]

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Count what -k, -m and --deselect leave out."""
        self.deselected += len(items)


def note_deselected(report: pathlib.Path, count: int) -> None:
    """Writes into the junit report how many tests a filter left out; pytest does not."""
    tree = ET.parse(report)
    for suite in tree.iter("testsuite"):
        properties = ET.Element("properties")
        ET.SubElement(properties, "property", name="deselected", value=str(count))
        suite.insert(0, properties)
    tree.write(report, encoding="utf-8", xml_declaration=True)


def options() -> list[str]:
    """The options that Bazel's environment asks for."""
    environment = os.environ
    arguments = ["-p", "no:cacheprovider", "--import-mode=importlib", "--rootdir=.", "-ra"]
    arguments += ["-c", CONFIGURATION]
    if xml := environment.get("XML_OUTPUT_FILE"):
        suite = environment.get("TEST_TARGET", "pytest")
        arguments += [f"--junitxml={xml}", "-o", f"junit_suite_name={suite}"]
    if folder := environment.get("TEST_TMPDIR"):
        arguments.append(f"--basetemp={pathlib.Path(folder, 'pytest')}")
        environment.setdefault("HOME", folder)
    if only := environment.get("TESTBRIDGE_TEST_ONLY"):
        arguments += ["-k", only]
    if environment.get("TESTBRIDGE_TEST_RUNNER_FAIL_FAST") == "1":
        arguments.append("--exitfirst")
    return arguments


def run(arguments: Sequence[str]) -> int:
    """Runs pytest and gives the exit code that Bazel should see."""
    if not any(argument.endswith("_test.py") for argument in arguments):
        print("none of the target's srcs is named *_test.py", file=sys.stderr)
        return int(pytest.ExitCode.NO_TESTS_COLLECTED)
    selection = Selection()
    if int(os.environ.get("TEST_TOTAL_SHARDS") or 0) > 1:
        pathlib.Path(os.environ["TEST_SHARD_STATUS_FILE"]).touch()
        selection = Selection(
            int(os.environ["TEST_SHARD_INDEX"]), int(os.environ["TEST_TOTAL_SHARDS"])
        )
    code = pytest.main([*options(), *arguments], plugins=[selection])
    xml = pathlib.Path(os.environ.get("XML_OUTPUT_FILE", ""))
    if selection.deselected and xml.is_file():
        note_deselected(xml, selection.deselected)
    # A filter may leave nothing to run, and so may a shard, of what others have;
    # a target without any test is an error.
    sharded = selection.total > 1 and selection.collected
    may_be_empty = sharded or os.environ.get("TESTBRIDGE_TEST_ONLY")
    if code == pytest.ExitCode.NO_TESTS_COLLECTED and may_be_empty:
        return 0
    return int(code)


def run_with_coverage(arguments: Sequence[str]) -> int:
    """Runs pytest and writes what ran as lcov, under the workspace's own paths."""
    import coverage  # noqa: PLC0415 - 50 ms that other runs need not spend

    manifest = pathlib.Path(os.environ["COVERAGE_MANIFEST"]).read_text().split()
    names = {os.path.realpath(path): path for path in manifest if path.endswith(".py")}
    measured = coverage.Coverage(include=list(names), config_file=False, data_file=None)
    measured.start()
    code = run(arguments)
    measured.stop()
    report = pathlib.Path(os.environ["COVERAGE_DIR"], "pylcov.dat")
    try:
        measured.lcov_report(outfile=str(report))
    except coverage.exceptions.NoDataError:
        return code
    lines = report.read_text().splitlines()
    # The runfiles' links led elsewhere; Bazel knows sources by their path in the workspace.
    report.write_text(
        "".join(
            f"SF:{names.get(line[3:], line[3:])}\n" if line.startswith("SF:") else f"{line}\n"
            for line in lines
        )
    )
    return code


if __name__ == "__main__":
    measure = run_with_coverage if os.environ.get("COVERAGE_DIR") else run
    sys.exit(measure(sys.argv[1:]))
