"""Counts the tests of Bazel runs: tally.py BUILD_EVENTS_JSON...

Prints each target that failed and, last, `N passed, N failed`. The numbers are test cases, from
the junit reports that Bazel names in its build events; a target that failed without saying in which
case (it crashed, ran out of time, was not built) counts as one. Needs nothing but Python.
"""

import dataclasses
import json
import pathlib
import sys
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence

GOOD = {"PASSED"}

# The name under which pytest_main.py notes it in the junit report.
DESELECTED = "deselected"


@dataclasses.dataclass(frozen=True)
class Count:
    """How many test cases came to what. `deselected` are those that a filter left out."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    deselected: int = 0

    def __add__(self, other: "Count") -> "Count":
        mine, theirs = dataclasses.astuple(self), dataclasses.astuple(other)
        return Count(*(a + b for a, b in zip(mine, theirs, strict=True)))


def cases_of(report: pathlib.Path) -> Count:
    """What a junit report says; pytest_main.py notes in it how many tests a filter left out."""
    tree = ET.parse(report)
    passed = failed = skipped = 0
    for case in tree.iter("testcase"):
        outcomes = {child.tag for child in case}
        if outcomes & {"failure", "error"}:
            failed += 1
        elif "skipped" in outcomes:
            skipped += 1
        else:
            passed += 1
    noted = [p.get("value", "0") for p in tree.iter("property") if p.get("name") == DESELECTED]
    return Count(passed, failed, skipped, sum(map(int, noted)))


@dataclasses.dataclass
class Target:
    """One test target of one run."""

    status: str = "NOT RUN"
    reports: list[pathlib.Path] = dataclasses.field(default_factory=list)
    # What its tests wrote to $TEST_UNDECLARED_OUTPUTS_DIR: a zip file for each shard.
    outputs: list[pathlib.Path] = dataclasses.field(default_factory=list)
    # All shards together; of the run that a cached result is from.
    seconds: float = 0.0
    cached: bool = False

    def count(self) -> Count:
        """The cases of all shards; a target that is not good has at least one failed."""
        count = sum(map(cases_of, self.reports), Count())
        if self.status not in GOOD:
            count = dataclasses.replace(count, failed=max(count.failed, 1))
        return count


def local_path(uri: str) -> pathlib.Path:
    """The file that an event's URI names."""
    return pathlib.Path(urllib.request.url2pathname(urllib.parse.urlparse(uri).path))


def targets(events: Iterable[dict[str, dict[str, object]]]) -> dict[str, Target]:
    """The test targets of one run, by label, those that were asked for and not run among them."""
    found: dict[str, Target] = {}
    for event in events:
        identity = event.get("id", {})
        if "targetConfigured" in identity and event.get("configured", {}).get("testSize"):
            found.setdefault(label(identity["targetConfigured"]), Target())
        elif "testResult" in identity and "testResult" in event:
            target = found.setdefault(label(identity["testResult"]), Target())
            result = event["testResult"]
            outputs = result.get("testActionOutput", [])
            assert isinstance(outputs, list)  # noqa: S101 - for the type checker: JSON of Bazel's
            named = [(output["name"], local_path(output["uri"])) for output in outputs]
            target.reports += [path for name, path in named if name == "test.xml"]
            target.outputs += [path for name, path in named if name == "test.outputs__outputs.zip"]
            target.seconds += float(str(result.get("testAttemptDurationMillis", 0))) / 1000
            target.cached = bool(result.get("cachedLocally"))
        elif "testSummary" in identity and "testSummary" in event:
            target = found.setdefault(label(identity["testSummary"]), Target())
            target.status = str(event["testSummary"].get("overallStatus", "NO STATUS"))
    return found


def read_events(path: pathlib.Path) -> Iterator[dict[str, dict[str, object]]]:
    """The events in a file that `--build_event_json_file` wrote."""
    return (json.loads(line) for line in path.read_text().splitlines())


def label(identity: object) -> str:
    """The target's label in an event's identity."""
    assert isinstance(identity, dict)  # noqa: S101 - for the type checker: JSON of Bazel's
    return str(identity["label"])


def main(paths: Sequence[str]) -> int:
    """Prints the count; 1 when a test failed or none passed."""
    total = Count()
    for path in paths:
        for name, target in sorted(targets(read_events(pathlib.Path(path))).items()):
            count = target.count()
            total += count
            if count.failed:
                print(f"{target.status}: {name} ({count.failed} failed)")
    print(f"{total.passed} passed, {total.failed} failed")
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
