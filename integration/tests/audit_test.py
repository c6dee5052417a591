import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from integration.audit import Anomaly, Channel
from integration.leaks.catalogue import LEAKS
from integration.systems.watertight.description import CHANNELS
from tools.datastores import external_servers

AUDIT = Path(os.environ["AUDIT"]).absolute()
LIMIT_SECONDS = 150
CHECK_FIGURES = {"check_time", "check_rate"}
"""What a check says of itself."""
FROM_OUTSIDE = {
    "redis-keys",
    "redis-pubsub",
    "redis-streams",
    "postgres-rows",
    "logs",
    "traces",
    "metrics",
    "audit-trail",
}
"""Channels that observers see; what the others show came with answers and events."""
SOURCES = {
    "logs": {"auth log", "analytics log", "backend-1 log", "backend-2 log"},
    "metrics": {"auth metrics", "analytics metrics", "backend-1 metrics", "backend-2 metrics"},
    "audit-trail": {"auth: table trail", "backend: table trail", "analytics: table trail"},
}
DATASTORE_LOGS = {"postgres log", "valkey log"}
EXTERNAL = external_servers() is not None
"""Whether somebody else runs the servers, whose logs the audit cannot see."""


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


def observed(directory: Path) -> Iterator[dict[str, Any]]:
    """What the history says that observers have seen."""
    with (directory / "audit-report" / "history.jsonl").open() as history:
        for line in history:
            record = json.loads(line)
            if from_outside(record):
                yield record["observation"]


def from_outside(record: dict[str, Any]) -> bool:
    """Whether a record of a history is of something that an observer has seen."""
    return record["type"] == "observed" and record.get("subscription") is None


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The directory of an audit of the system as it is, with the defaults, and what it printed."""
    directory = tmp_path_factory.mktemp("clean")
    finished = audit("--json", "audit.json", directory=directory)
    assert 0 == finished.returncode, finished.stdout + finished.stderr
    return directory, finished.stdout


def test_clean_system_passes_on_every_channel(clean: tuple[Path, str]) -> None:
    """The system as it is gets PASS: every channel was observed, every anomaly looked for."""
    directory, printed = clean
    report: dict[str, Any] = json.loads((directory / "audit.json").read_text())

    assert "PASS" == report["verdict"]
    minimums = {each.channel: each.minimum_observations for each in CHANNELS}
    assert set(Channel) == set(minimums)
    for channel, minimum in minimums.items():
        assert report["channels"][channel]["observations"] >= minimum
        assert 0 == report["channels"][channel]["leaks"]
    assert "not observed" not in printed
    assert "not checked" not in printed
    assert set(Anomaly) == set(report["anomalies"])
    for anomaly in report["anomalies"].values():
        assert 0 == anomaly["count"]
        assert anomaly["checks"] > 0
    seen = {(each["channel"], each["source"]) for each in observed(directory)}
    for told, sources in SOURCES.items():
        assert sources <= {source for on, source in seen if on == told}
    logged = {source for on, source in seen if on == "logs"}
    assert (set() if EXTERNAL else DATASTORE_LOGS) == logged & DATASTORE_LOGS
    spans = {source.split()[0] for on, source in seen if on == "traces"}
    assert {"auth", "analytics", "backend"} == spans
    assert (directory / "audit-report" / "report.html").exists()


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


def test_what_nobody_observed_is_no_evidence(clean: tuple[Path, str], tmp_path: Path) -> None:
    """Where an observer has seen nothing its channel makes the audit INCONCLUSIVE."""
    history = clean[0] / "audit-report" / "history.jsonl"
    blind = tmp_path / "blind.jsonl"
    with history.open() as whole, blind.open("w") as kept:
        kept.writelines(line for line in whole if not from_outside(json.loads(line)))
    again = audit("check", "blind.jsonl", "--json", "blind.json", directory=tmp_path)

    assert 12 == again.returncode, again.stdout + again.stderr
    reasons = json.loads((tmp_path / "blind.json").read_text())["reasons"]
    silent = {reason.partition(":")[0] for reason in reasons if ": 0 observations" in reason}
    assert FROM_OUTSIDE <= silent


def test_leaks_are_listed_by_name(tmp_path: Path) -> None:
    """`--list-leaks` gives a line for each leak, its name first."""
    finished = audit("--list-leaks", directory=tmp_path)

    assert 0 == finished.returncode
    names = [line.split()[0] for line in finished.stdout.splitlines()]
    assert [leak.name for leak in LEAKS] == names


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
