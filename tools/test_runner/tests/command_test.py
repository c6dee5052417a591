import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from tools.test_runner.bazel import BazelFailed, passed_on
from tools.test_runner.command import ExitCode, main
from tools.test_runner.inventory import QUERY

RULE = """<rule class="py_test" name="{name}"><list name="tags">{tags}</list>
<list name="srcs">{sources}<label value="//tools/build:pytest_main.py"/></list></rule>"""

MARKED = "import pytest\npytestmark = [pytest.mark.integration, pytest.mark.real_services]\n"
FILES = {
    "tools/a/tests/a_test.py": "",
    "tools/a/tests/b_test.py": "# real_services is only spoken of\n",
    "tools/a/tests/conftest.py": "",
    "integration/suite/tests/real_test.py": MARKED,
    "integration/suite/tests/plain_test.py": "",
    "integration/suite/tests/forgotten_test.py": "",
    "integration/soak_test.py": "",
    "integration/performance/tests/factor_test.py": MARKED,
}
TARGETS = {
    "//tools/a:a_test": (["a/tests/a_test.py", "a/tests/b_test.py", "a/tests/conftest.py"], []),
    "//integration/suite:real_test": (["suite/tests/real_test.py"], []),
    "//integration/suite:plain_test": (["suite/tests/plain_test.py"], []),
    "//integration:soak_test": (["soak_test.py"], ["manual"]),
    "//integration/performance:factor_test": (["performance/tests/factor_test.py"], []),
    "//services/auth:lint_test": ([], []),
}
RESULT = """<testsuites><testsuite><properties><property name="deselected" value="{}"/></properties>
{}</testsuite></testsuites>"""


def rule(name: str, sources: Sequence[str], tags: Sequence[str]) -> str:
    """One target, as `bazel query --output=xml` says it."""
    package, _, _ = name.partition(":")
    folder = package.removeprefix("//").rpartition("/")[2]
    labels = [f"{package}:{source.removeprefix(f'{folder}/')}" for source in sources]
    return RULE.format(
        name=name,
        tags="".join(f'<string value="{tag}"/>' for tag in tags),
        sources="".join(f'<label value="{label}"/>' for label in labels),
    )


class RecordingBazel:
    """Answers the query, notes how tests are started, and writes events as Bazel does."""

    def __init__(self, folder: Path) -> None:
        self.report = folder / "test.xml"
        self.results(passed=1)
        self.ran: list[str] = []
        self.code = 0
        self.targets = dict(TARGETS)

    def results(self, *, passed: int, deselected: int = 0) -> None:
        """What each target that is run will say."""
        cases = "".join(f'<testcase name="{number}"/>' for number in range(passed))
        self.report.write_text(RESULT.format(deselected, cases))

    def query(self, expression: str) -> bytes:
        """All targets."""
        assert expression == QUERY
        rules = "".join(rule(name, *about) for name, about in self.targets.items())
        return f'<?xml version="1.1" encoding="UTF-8"?>\n<query>{rules}</query>'.encode()

    def test(self, arguments: Sequence[str]) -> int:
        """Each target that is named passes."""
        self.ran = list(arguments)
        (events,) = (a for a in arguments if a.startswith("--build_event_json_file="))
        output = {"name": "test.xml", "uri": self.report.as_uri()}
        lines = []
        for label in self.labels:
            name = {"label": label}
            result = {"testActionOutput": [output]}
            lines.append({"id": {"testResult": name}, "testResult": result})
            lines.append({"id": {"testSummary": name}, "testSummary": {"overallStatus": "PASSED"}})
        Path(events.partition("=")[2]).write_text("\n".join(map(json.dumps, lines)))
        return self.code

    @property
    def labels(self) -> list[str]:
        """The targets that were run."""
        return self.ran[self.ran.index("--") + 1 :]


class CommandLine:
    """The command in a small repository."""

    def __init__(self, folder: Path) -> None:
        self.workspace = folder / "repository"
        for name, text in FILES.items():
            path = self.workspace / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.typed_in = self.workspace
        self.bazel = RecordingBazel(folder)
        self.output = ""

    def run(self, *arguments: str) -> int:
        """Its exit code."""
        console = Console(file=io.StringIO(), width=120)
        environment = {
            "BUILD_WORKSPACE_DIRECTORY": str(self.workspace),
            "BUILD_WORKING_DIRECTORY": str(self.typed_in),
        }
        code = main(arguments, environment, self.bazel, console)
        assert isinstance(console.file, io.StringIO)
        self.output = console.file.getvalue()
        return code


@pytest.fixture
def line(tmp_path: Path) -> CommandLine:
    """The command in a small repository."""
    return CommandLine(tmp_path)


def test_list_says_what_would_run_and_nothing_else(line: CommandLine) -> None:
    """Each target and its category, one a line; what wildcards leave out is left out."""
    code = line.run("--list")

    assert (0, []) == (code, line.bazel.ran)
    assert line.output.splitlines() == [
        "//integration/performance:factor_test  performance",
        "//integration/suite:plain_test  integration",
        "//integration/suite:real_test  integration",
        "//services/auth:lint_test  unit",
        "//tools/a:a_test  unit",
    ]


@pytest.mark.parametrize(
    ("category", "expected"),
    [
        ("unit", ["//services/auth:lint_test", "//tools/a:a_test"]),
        ("integration", ["//integration/suite:plain_test", "//integration/suite:real_test"]),
        ("performance", ["//integration/performance:factor_test"]),
    ],
)
def test_a_category_runs_its_targets(line: CommandLine, category: str, expected: list[str]) -> None:
    """A category's targets run, all of them and no other."""
    assert line.run("--category", category) == 0
    assert line.bazel.labels == expected


def test_tags_decide_before_folders(line: CommandLine) -> None:
    """A target with the tag `contract` or `performance` is of that category, wherever it is."""
    line.bazel.targets["//services/auth:pact_test"] = ([], ["contract"])
    line.bazel.targets["//tools/a:speed_test"] = ([], ["performance"])

    line.run("--category", "contract")
    contract = line.bazel.labels
    line.run("--category=performance")

    assert contract == ["//services/auth:pact_test"]
    assert "//tools/a:speed_test" in line.bazel.labels


def test_an_empty_category_is_no_success(line: CommandLine) -> None:
    """A category without targets says so and has an exit code of its own; nothing runs."""
    assert line.run("--category", "contract") == ExitCode.NOTHING_TO_RUN
    assert line.output == "test_runner: nothing to run: no target has tests of category contract\n"
    assert line.bazel.ran == []


def test_a_target_of_no_category_is_an_error(line: CommandLine) -> None:
    """A folder that the rule does not know is not left out silently."""
    line.bazel.targets["//elsewhere:a_test"] = ([], [])

    assert line.run("--list") == ExitCode.NOTHING_TO_RUN
    assert "//elsewhere: is of no category" in line.output


def test_real_services_selects_the_marker(line: CommandLine) -> None:
    """Only targets whose tests have the marker run, with pytest's own selection of it."""
    line.bazel.results(passed=2, deselected=3)

    assert line.run("--real-services") == 0
    assert line.bazel.labels == [
        "//integration/performance:factor_test",
        "//integration/suite:real_test",
    ]
    assert line.bazel.ran[2:4] == ["--test_arg=-m", "--test_arg=real_services"]
    assert "4 passed, 0 failed, 0 skipped, 6 deselected" in line.output
    assert "3 targets were left out" in line.output


def test_real_services_and_a_category_combine(line: CommandLine) -> None:
    """Both conditions must hold; where none fulfils both, that is said."""
    assert line.run("--real-services", "--category", "integration", "--list") == 0
    assert line.output == "//integration/suite:real_test  integration\n"
    assert line.run("--real-services", "--category", "unit") == ExitCode.NOTHING_TO_RUN
    assert "of category unit, with the marker real_services" in line.output


def test_a_run_of_nothing_is_no_success(line: CommandLine) -> None:
    """Where all tests were left out nothing has been shown, though Bazel is content."""
    line.bazel.results(passed=0, deselected=3)

    assert line.run("--real-services") == ExitCode.NOTHING_TO_RUN


def test_a_file_runs_alone(line: CommandLine) -> None:
    """The targets that run a file are run, without their other files' tests."""
    assert line.run("--test-file", "tools/a/tests/b_test.py") == 0
    assert line.bazel.labels == ["//tools/a:a_test"]
    assert "--test_arg=--deselect=tools/a/tests/a_test.py" in line.bazel.ran
    assert "conftest" not in " ".join(line.bazel.ran)


def test_a_file_is_found_from_where_the_command_was_typed(line: CommandLine) -> None:
    """A path may be of the folder of the command, absolute, or of the repository."""
    line.typed_in = line.workspace / "integration/suite"
    absolute = str(line.workspace / "tools/a/tests/a_test.py")

    for path in ("tests/real_test.py", absolute, "integration/suite/tests/plain_test.py"):
        assert line.run("--list", "--test-file", path) == 0

    assert line.output == "//integration/suite:plain_test  integration\n"


def test_a_named_file_may_be_manual(line: CommandLine) -> None:
    """A target that wildcards leave out runs when its file is named and no other runs it."""
    line.run("--test-file", "integration/soak_test.py")
    alone = line.bazel.labels
    line.bazel.targets["//integration:quick_test"] = (["soak_test.py"], [])
    line.run("--test-file", "integration/soak_test.py")

    assert alone == ["//integration:soak_test"]
    assert line.bazel.labels == ["//integration:quick_test"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--category", "unti"], "invalid choice: 'unti' (choose from 'unit', 'contract'"),
        (["--categry", "unit"], "unrecognized arguments"),
        (["--list", "tools/a"], "unrecognized arguments: tools/a"),
        (["--test-file", "tools/a/tests/c_test.py"], "c_test.py: there is no such file"),
        (["--test-file", "tools/a/tests"], "tools/a/tests: there is no such file"),
        (["--test-file", "/etc/hostname"], "/etc/hostname: is not in this repository"),
        (["--test-file", "tools/a/tests/conftest.py"], "files of tests are named *_test.py"),
        (
            ["--test-file", "integration/suite/tests/forgotten_test.py"],
            "(integration/suite/BUILD) must have it in the srcs of a pytest_test",
        ),
    ],
)
def test_wrong_arguments_have_a_code_and_a_hint(
    line: CommandLine, arguments: list[str], says: str
) -> None:
    """What there is not is refused with 64 and with what was expected; nothing runs."""
    assert line.run(*arguments) == 64
    assert line.output.startswith("test_runner: ")
    assert says in line.output
    assert line.bazel.ran == []


def test_bazels_code_is_kept(line: CommandLine) -> None:
    """When tests fail the exit code is Bazel's own, and the summary is shown."""
    line.bazel.code = 3

    assert line.run("--category", "performance") == 3
    assert "//integration/performance:factor_test" in line.output


def test_a_broken_workspace_leaves_with_bazels_code(
    line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the query fails there is nothing to choose from."""

    def broken(_expression: str) -> bytes:
        raise BazelFailed(7)

    monkeypatch.setattr(line.bazel, "query", broken)

    assert line.run("--list") == 7


def test_bazels_options_are_passed_on(line: CommandLine) -> None:
    """What follows a second `--` is for `bazel test`, before the targets."""
    assert line.run("--category", "performance", "--", "--config=shared", "--runs_per_test=2") == 0
    assert line.bazel.ran[-4:-2] == ["--config=shared", "--runs_per_test=2"]
    assert line.bazel.labels == ["//integration/performance:factor_test"]


def test_a_test_file_that_is_gone_is_an_error_not_unmarked(line: CommandLine) -> None:
    """A file that a target names and nobody has cannot be searched for its marker."""
    shutil.rmtree(line.workspace / "tools")

    with pytest.raises(FileNotFoundError):
        line.run("--real-services")


def test_another_bazel_gets_no_traces_of_this_one() -> None:
    """The wrapper's own mark would keep it from finding Bazel; the rest is passed on."""
    environment = {
        "WATERTIGHT_BAZEL_WRAPPER": "1",
        "RUNFILES_DIR": "/r",
        "PYTHONPATH": "/p",
        "BUILD_WORKSPACE_DIRECTORY": "/w",
        "PATH": "/bin",
        "WATERTIGHT_POSTGRES_URL": "postgresql://h/",
    }

    assert passed_on(environment) == {
        "PATH": "/bin",
        "WATERTIGHT_POSTGRES_URL": "postgresql://h/",
    }
