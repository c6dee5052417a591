import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

AUDIT = Path(os.environ["AUDIT"]).absolute()
LIMIT_SECONDS = 150
CHECK_FIGURES = {"check_time", "check_rate"}
"""What a check says of itself."""
OBSERVED = {
    "http",
    "grpc",
    "websocket",
    "redis-keys",
    "redis-pubsub",
    "redis-streams",
    "postgres-rows",
    "logs",
    "errors",
    "audit-trail",
}


def audit(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """The command as a user types it, in a directory."""
    return subprocess.run(
        [AUDIT, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        env={**os.environ, "BUILD_WORKING_DIRECTORY": str(directory)},
    )


def test_clean_system_passes_on_every_channel(tmp_path: Path) -> None:
    """The system as it is gets PASS and exit code 0, with evidence from each observed channel."""
    finished = audit("--operations", "200", "--json", "audit.json", directory=tmp_path)

    assert 0 == finished.returncode, finished.stdout + finished.stderr
    report: dict[str, Any] = json.loads((tmp_path / "audit.json").read_text())
    assert "PASS" == report["verdict"]
    seen = {name for name, each in report["channels"].items() if each["observations"]}
    assert seen >= OBSERVED
    assert not any(each["leaks"] for each in report["channels"].values())
    assert not any(each["count"] for each in report["anomalies"].values())
    assert all(
        (each["count"] is None) == (each["checks"] is None) for each in report["anomalies"].values()
    )
    logs = {each["source"] for each in observed(tmp_path) if each["channel"] == "logs"}
    assert logs >= {"auth log", "analytics log", "backend-1 log", "postgres log", "valkey log"}
    assert (tmp_path / "audit-report" / "report.html").exists()
    assert (tmp_path / "audit-report" / "history.jsonl").exists()


def test_check_of_a_history_gives_the_same_verdict(tmp_path: Path) -> None:
    """A recorded history is judged again without the system: every number and witness is equal."""
    leak = ("--leak", "aggregate-query")
    first = audit("--operations", "120", *leak, "--json", "first.json", directory=tmp_path)
    arguments = ("check", "audit-report/history.jsonl", "--json", "again.json")
    again = audit(*arguments, directory=tmp_path)

    assert (10, 10) == (first.returncode, again.returncode)
    reports = [json.loads((tmp_path / name).read_text()) for name in ("first.json", "again.json")]
    for report in reports:
        assert CHECK_FIGURES <= report["metrics"].keys()
        for figure in CHECK_FIGURES:
            del report["metrics"][figure]
    assert reports[0] == reports[1]


def observed(directory: Path) -> Iterator[dict[str, Any]]:
    """What the history says was seen outside the answers to operations."""
    with (directory / "audit-report" / "history.jsonl").open() as history:
        for line in history:
            record = json.loads(line)
            if record["type"] == "observed":
                yield record["observation"]


def test_leaks_are_listed_by_name(tmp_path: Path) -> None:
    """`--list-leaks` gives a line for each leak, its name first."""
    finished = audit("--list-leaks", directory=tmp_path)

    assert 0 == finished.returncode
    names = [line.split()[0] for line in finished.stdout.splitlines()]
    assert 6 == len(names)
    assert {"database-scope", "cache-key", "websocket-routing"} <= set(names)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--tenants", "0"),
        ("--tenants", "many"),
        ("--users", "-1"),
        ("--threads", "1e9"),
        ("--operations", "0"),
        ("--operations",),
        ("--seed", "x"),
        ("--leak", "no-such-leak"),
        ("--no-such-option",),
        ("surplus",),
        ("--report", "/proc/nowhere"),
        ("--json", "/nowhere/at/all.json"),
        ("check", "no-such-file"),
    ],
    ids=" ".join,
)
def test_wrong_arguments_leave_with_64(arguments: Sequence[str], tmp_path: Path) -> None:
    """Nothing is started for wrong arguments, and one line says what was expected."""
    finished = audit(*arguments, directory=tmp_path)

    assert 64 == finished.returncode
    assert finished.stderr.strip()
    assert "Traceback" not in finished.stderr
    assert [] == list(tmp_path.iterdir())
