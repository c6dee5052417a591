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
from collections.abc import Iterable, Sequence

GOOD = {"PASSED"}


@dataclasses.dataclass
class Target:
    """One test target of one run."""

    status: str = "NOT RUN"
    reports: list[pathlib.Path] = dataclasses.field(default_factory=list)

    def count(self) -> tuple[int, int]:
        """How many cases passed and failed; skipped ones are neither."""
        passed = failed = 0
        for report in self.reports:
            for case in ET.parse(report).iter("testcase"):
                outcomes = {child.tag for child in case}
                failed += bool(outcomes & {"failure", "error"})
                passed += not outcomes & {"failure", "error", "skipped"}
        if self.status not in GOOD:
            failed = max(failed, 1)
        return passed, failed


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
            outputs = event["testResult"].get("testActionOutput", [])
            assert isinstance(outputs, list)  # noqa: S101 - for the type checker: JSON of Bazel's
            target.reports += [local_path(o["uri"]) for o in outputs if o["name"] == "test.xml"]
        elif "testSummary" in identity and "testSummary" in event:
            target = found.setdefault(label(identity["testSummary"]), Target())
            target.status = str(event["testSummary"].get("overallStatus", "NO STATUS"))
    return found


def label(identity: object) -> str:
    """The target's label in an event's identity."""
    assert isinstance(identity, dict)  # noqa: S101 - for the type checker: JSON of Bazel's
    return str(identity["label"])


def main(paths: Sequence[str]) -> int:
    """Prints the count; 1 when a test failed or none passed."""
    passed = failed = 0
    for path in paths:
        lines = pathlib.Path(path).read_text().splitlines()
        for name, target in sorted(targets(json.loads(line) for line in lines).items()):
            good, bad = target.count()
            passed, failed = passed + good, failed + bad
            if bad:
                print(f"{target.status}: {name} ({bad} failed)")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
