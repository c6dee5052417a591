import itertools
import os
import pathlib
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence

import pytest

MAIN = "tools/build/pytest_main.py"
SEVEN = "".join(f"def test_{name}(): pass\n" for name in "abcdefg")

# What Bazel may have set for the test that this one is.
BAZELS = ("TEST", "XML", "COVERAGE", "RUNFILES", "PYTEST", "GTEST")


class Runner:
    """Runs the program under test on one file of tests."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.xml = folder / "test.xml"
        self.output = ""

    def run(
        self,
        tests: str,
        *options: str,
        files: Sequence[str] = ("sample_test.py",),
        **environment: str,
    ) -> int:
        """Gives the exit code that Bazel would see."""
        (self.folder / "sample_test.py").write_text(tests)
        paths = [str(self.folder / file) for file in files]
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(BAZELS)}
        ended = subprocess.run(
            [sys.executable, "-S", "-s", MAIN, *paths, *options],
            env={**inherited, "XML_OUTPUT_FILE": str(self.xml), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=25,
            check=False,
        )
        self.output = ended.stdout
        return ended.returncode

    def run_shard(self, tests: str, index: int, total: int, *options: str) -> int:
        """Runs one shard as Bazel does, and checks that Bazel would know of it."""
        status = self.folder / "shard"
        status.unlink(missing_ok=True)
        shard: Mapping[str, str] = {
            "TEST_SHARD_INDEX": str(index),
            "TEST_TOTAL_SHARDS": str(total),
            "TEST_SHARD_STATUS_FILE": str(status),
        }
        code = self.run(tests, *options, **shard)
        assert status.exists()
        return code

    @property
    def cases(self) -> list[str]:
        """Names of the tests in the junit report."""
        return [str(case.get("name")) for case in ET.parse(self.xml).iter("testcase")]


@pytest.fixture
def runner(tmp_path: pathlib.Path) -> Iterator[Runner]:
    """A runner, whose last output is shown where a test fails."""
    made = Runner(tmp_path)
    yield made
    print(made.output)


def test_all_pass(runner: Runner) -> None:
    """Passing tests give 0, and each is in the report."""
    assert runner.run(SEVEN) == 0
    assert runner.cases == [f"test_{name}" for name in "abcdefg"]


def test_a_failing_test_fails_with_its_output_in_the_report(runner: Runner) -> None:
    """A failing test fails the target; the report says why and what it printed."""
    code = runner.run("def test_it():\n    print('said before')\n    assert 1 == 2\n")

    assert code == 1
    assert "assert 1 == 2" in runner.xml.read_text()
    assert "said before" in runner.xml.read_text()


def test_zero_tests_fail(runner: Runner) -> None:
    """A file without tests, misnamed ones for instance, fails."""
    assert runner.run("def tset_it(): pass\n") == pytest.ExitCode.NO_TESTS_COLLECTED


def test_no_file_of_tests_fails(runner: Runner) -> None:
    """Without files pytest would look for tests everywhere; here there is nothing to run."""
    assert runner.run(SEVEN, files=()) == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "none of the target's srcs is named *_test.py" in runner.output


def test_a_file_that_cannot_be_imported_fails(runner: Runner) -> None:
    """A broken import fails, in a shard as well."""
    assert runner.run_shard("import nowhere\n", 0, 2) == pytest.ExitCode.INTERRUPTED


def test_shards_run_every_test_once(runner: Runner) -> None:
    """The shards together run what one process would, each test once."""
    seen = []
    for index in range(3):
        assert runner.run_shard(SEVEN, index, 3) == 0
        seen.append(runner.cases)

    assert [len(names) for names in seen] == [3, 2, 2]
    assert sorted(itertools.chain(*seen)) == [f"test_{name}" for name in "abcdefg"]


def test_an_empty_shard_passes(runner: Runner) -> None:
    """More shards than tests are no error."""
    assert runner.run_shard("def test_it(): pass\n", 1, 2) == 0
    assert runner.cases == []


def test_no_tests_fail_in_a_shard_too(runner: Runner) -> None:
    """A target without any test fails in each of its shards: there is nothing that another has."""
    codes = [runner.run_shard("def helper(): pass\n", index, 2) for index in range(2)]

    assert codes == [pytest.ExitCode.NO_TESTS_COLLECTED] * 2


def test_a_failure_in_a_shard_fails(runner: Runner) -> None:
    """Sharding hides no failure."""
    tests = "def test_a(): pass\ndef test_b(): assert False\n"

    assert [runner.run_shard(tests, index, 2) for index in range(2)] == [0, 1]


def test_the_filter_selects(runner: Runner) -> None:
    """--test_filter is pytest's -k."""
    assert runner.run(SEVEN, TESTBRIDGE_TEST_ONLY="test_b or test_c") == 0
    assert runner.cases == ["test_b", "test_c"]


def test_the_report_says_how_many_a_filter_left_out(runner: Runner) -> None:
    """What was deselected is in the junit report; what other shards run is not counted."""
    runner.run(SEVEN, "-k", "test_b or test_c")
    alone = ET.parse(runner.xml).find(".//property[@name='deselected']")
    runner.run_shard(SEVEN, 0, 2)
    shard = ET.parse(runner.xml).find(".//property[@name='deselected']")

    assert alone is not None
    assert (alone.get("value"), shard) == ("5", None)


def test_a_marker_selects_in_shards(runner: Runner) -> None:
    """Shards that a marker leaves empty pass, and count what it left out."""
    tests = "import pytest\n@pytest.mark.critical\n" + SEVEN

    codes = [runner.run_shard(tests, index, 2, "-m", "critical") for index in (0, 1)]
    note = ET.parse(runner.xml).find(".//property[@name='deselected']")

    assert codes == [0, 0]
    assert note is not None
    assert note.get("value") == "3"


def test_a_marker_that_selects_nothing_fails(runner: Runner) -> None:
    """A target whose own options leave no test is an error."""
    assert runner.run(SEVEN, "-m", "critical") == pytest.ExitCode.NO_TESTS_COLLECTED


def test_a_filter_that_leaves_nothing_passes(runner: Runner) -> None:
    """A filter for one target leaves others empty, which is no error."""
    assert runner.run(SEVEN, TESTBRIDGE_TEST_ONLY="test_z") == 0


def test_fail_fast_stops_at_the_first_failure(runner: Runner) -> None:
    """--test_runner_fail_fast ends the run with the first failing test."""
    tests = "def test_a(): assert False\n" + SEVEN.replace("test_a", "test_h")

    assert runner.run(tests, TESTBRIDGE_TEST_RUNNER_FAIL_FAST="1") == 1
    assert runner.cases == ["test_a"]


def test_a_warning_is_an_error(runner: Runner) -> None:
    """A test that warns fails."""
    assert runner.run("import warnings\ndef test_it(): warnings.warn('old')\n") == 1
    assert "UserWarning: old" in runner.output


def test_a_coroutine_is_a_test(runner: Runner) -> None:
    """A failing coroutine fails: it is awaited, not just called."""
    assert runner.run("async def test_it(): assert False\n") == 1


def test_a_test_that_hangs_is_ended(runner: Runner) -> None:
    """The limit for one test ends it, and says where it was."""
    tests = "import threading\ndef test_it(): threading.Event().wait()\n"

    assert runner.run(tests, "--timeout=1") == 1
    assert "threading.Event().wait()" in runner.output
    assert "Timeout" in runner.output


def test_an_unknown_marker_fails(runner: Runner) -> None:
    """A misspelt marker selects nothing silently: it is an error."""
    assert runner.run("import pytest\n@pytest.mark.slwo\ndef test_it(): pass\n") != 0


def test_coverage_names_the_lines_that_ran(runner: Runner, tmp_path: pathlib.Path) -> None:
    """Under `bazel coverage` the report has the sources of the manifest, by their own path."""
    (tmp_path / "covered.py").write_text(
        "def used():\n    return 1\n\ndef unused():\n    return 2\n"
    )
    manifest = tmp_path / "manifest"
    manifest.write_text(f"{tmp_path}/covered.py\n{tmp_path}/other.txt\n")
    tests = (
        f"import sys\nsys.path.append({str(tmp_path)!r})\n"
        "import covered\ndef test_it(): assert covered.used() == 1\n"
    )

    code = runner.run(tests, COVERAGE_DIR=str(tmp_path), COVERAGE_MANIFEST=str(manifest))

    lines = (tmp_path / "pylcov.dat").read_text().splitlines()
    assert code == 0
    assert f"SF:{tmp_path}/covered.py" in lines
    assert any(line.startswith("DA:2,1") for line in lines)
    assert any(line.startswith("DA:5,0") for line in lines)
