"""Records what a real Bazel writes: `tools/bazel run //tools/test_runner:record_events`.

Bazel cannot run in the sandbox of its own tests, so that they read a recording. It is of the
targets in recorded/: one of two shards that passes and keeps a metric, one that fails, and one that
cannot be built. Kept are the events that anybody here reads, with the place of the logs replaced by
`file:///testlogs`, and those files that they name which anybody reads.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from tools.test_runner.bazel import Bazel

_PACKAGE: Final = "//tools/test_runner/recorded"
_TARGETS: Final = [f"{_PACKAGE}:{name}_test" for name in ("good", "bad", "unbuilt")]
_KINDS: Final = ("testResult", "testSummary", "targetConfigured")
_KEPT: Final = ("test.xml", "test.outputs/outputs.zip")
_BUILD_FAILED: Final = 1


def main(workspace: Path) -> int:
    """Replaces the recording in the workspace; 1 when Bazel did not do what it should."""
    recording = workspace / "tools/test_runner/tests/recording"
    with tempfile.TemporaryDirectory(prefix="recording-") as folder:
        events = Path(folder, "events.json")
        options = ["--keep_going", "--nocache_test_results", f"--build_event_json_file={events}"]
        code = Bazel(workspace).test([*options, "--", *_TARGETS])
        shutil.rmtree(recording, ignore_errors=True)
        recording.mkdir()
        _keep(events, recording)
    return 0 if code == _BUILD_FAILED else 1


def _keep(events: Path, recording: Path) -> None:
    kept = []
    for line in events.read_text().splitlines():
        event = json.loads(line)
        if not any(kind in event["id"] for kind in _KINDS):
            continue
        text = json.dumps({name: event[name] for name in event if name != "children"})
        for output in event.get("testResult", {}).get("testActionOutput", []):
            text = text.replace(output["uri"], _kept_file(output, recording))
        for passed_or_failed in ("passed", "failed"):
            for log in event.get("testSummary", {}).get(passed_or_failed, []):
                text = text.replace(log["uri"], _place(log))
        kept.append(text)
    (recording / "events.json").write_text("\n".join(kept) + "\n")


def _kept_file(output: dict[str, Any], recording: Path) -> str:
    path = Path(output["uri"].removeprefix("file://"))
    place = _place(output)
    if path.exists() and str(path).endswith(_KEPT):
        target = recording / place.removeprefix("file:///")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return place


def _place(output: dict[str, Any]) -> str:
    uri: str = output["uri"]
    return "file:///testlogs" + uri.rpartition("/testlogs")[2]


if __name__ == "__main__":
    sys.exit(main(Path(os.environ["BUILD_WORKSPACE_DIRECTORY"])))
