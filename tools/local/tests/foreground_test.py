import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tools.processes.launcher import descendants

_SERVICES = Path(__file__).parents[3] / "services"
_LIMIT_SECONDS = 90


@dataclass(frozen=True)
class _Shown:
    """What a developer is shown, and the process that shows it."""

    process: subprocess.Popen[str]
    lines: list[str]

    @property
    def urls(self) -> dict[str, str]:
        """Each service's base URL."""
        return dict(
            re.findall(r"^(\w+) +(http://127\.0\.0\.1:\d+) ", "".join(self.lines), re.MULTILINE)
        )

    @property
    def log(self) -> Path:
        """Where the service's log is said to be."""
        (found,) = re.findall(r"^Its log: (.+)$", "".join(self.lines), re.MULTILINE)
        return Path(found)


@contextmanager
def _local(service: str) -> Iterator[_Shown]:
    # A developer has no test's folder, where logs would stay.
    env = {name: value for name, value in os.environ.items() if not name.startswith("TEST_")}
    command = [_SERVICES / service / "local"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        try:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line)
                if line.startswith("Ctrl-C"):
                    break
            yield _Shown(process, lines)
        finally:
            process.terminate()


def _health(url: str) -> int:
    """The status of a service's health answer; 0 where nothing listens."""
    try:
        return httpx.get(f"{url}/health", trust_env=False).status_code
    except httpx.ConnectError:
        return 0


@pytest.mark.parametrize(
    ("service", "needed"),
    [
        ("auth", ["auth"]),
        ("analytics", ["auth", "analytics"]),
        ("backend", ["auth", "analytics", "backend"]),
    ],
)
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_local_serves_until_it_is_told_to_stop(
    service: str, needed: list[str], end: signal.Signals
) -> None:
    """All answer at the URLs that are printed; then everything ends with 0, and nothing is left."""
    with _local(service) as shown:
        inside = {name: _health(url) for name, url in shown.urls.items()}
        processes = descendants(shown.process.pid)
        logged = shown.log.exists()
        shown.process.send_signal(end)
        rest, _ = shown.process.communicate(timeout=_LIMIT_SECONDS)

    assert dict.fromkeys(needed, 200) == inside
    assert ("stopped.\n", 0) == (rest, shown.process.returncode)
    assert logged
    # The launcher, the datastores with theirs, and a process for each service at least.
    assert len(processes) > 3 + len(needed)
    assert [] == [pid for pid in processes if Path(f"/proc/{pid}").exists()]
    assert [0] * len(needed) == [_health(url) for url in shown.urls.values()]
    assert not shown.log.exists()


@pytest.mark.parametrize("service", ["auth", "analytics", "backend"])
@pytest.mark.parametrize("port", ["70000", "x", "-1"])
def test_wrong_options_are_told(service: str, port: str) -> None:
    """A port that cannot be one is refused before anything starts."""
    command = [str(_SERVICES / service / "local"), f"--http-port={port}"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert 64 == told.returncode
    assert f"//services/{service}:local: " in told.stderr
    assert "--http-port: expected a number from 0 to 65535" in told.stderr
