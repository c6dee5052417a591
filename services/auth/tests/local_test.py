from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

_LOCAL = Path(os.environ["AUTH_LOCAL"]).absolute()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_local_serves_until_it_is_told_to_stop(end: signal.Signals) -> None:
    """The service answers at the URL that is printed, and everything ends at once with 0."""
    with subprocess.Popen([_LOCAL], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Ctrl-C"):
                break
        found = re.search(r"http://127\.0\.0\.1:\d+", lines[0])
        assert found is not None
        health = httpx.get(f"{found[0]}/health", trust_env=False)
        process.send_signal(end)
        rest = process.stdout.read()

    assert 200 == health.status_code
    assert "stopped.\n" == rest
    assert 0 == process.returncode
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{found[0]}/health", trust_env=False)


@pytest.mark.parametrize("port", ["70000", "x", "-1"])
def test_wrong_options_are_told(port: str) -> None:
    """A port that cannot be one is refused before anything starts."""
    told = subprocess.run(
        [_LOCAL, f"--http-port={port}"], capture_output=True, text=True, timeout=30, check=False
    )

    assert 64 == told.returncode
    assert "--http-port: expected a number from 0 to 65535" in told.stderr
