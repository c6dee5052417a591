import os
import re
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

UP = Path(os.environ["UP"]).absolute()
LIMIT_SECONDS = 100


def test_whole_system_is_up_until_it_is_interrupted() -> None:
    """URLs and two users' tokens are printed, they work, and Ctrl-C ends everything with 0."""
    with subprocess.Popen(
        [UP], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        assert running.stdout is not None
        shown = []
        for line in running.stdout:
            shown.append(line)
            if "Ctrl-C" in line:
                break
        text = "".join(shown)
        urls = sorted(set(re.findall(r"(http://127\.0\.0\.1:\d+)\s", text)))
        tokens = re.findall(r"(?:ann|bob): (\S+)", text)
        answers = [httpx.get(f"{url}/health", trust_env=False).status_code for url in urls]
        asked = re.search(r"backend-1\s+(http://\S+)", text)
        assert asked is not None
        threads = httpx.get(
            f"{asked[1]}/threads",
            headers={"authorization": f"Bearer {tokens[0]}"},
            trust_env=False,
        ).json()
        os.killpg(running.pid, signal.SIGINT)
        output, errors = running.communicate(timeout=LIMIT_SECONDS)

    assert [200] * 4 == answers
    assert 2 == len(set(tokens))
    assert {"threads": []} == threads
    assert (0, "stopped.\n", "") == (running.returncode, output, errors)
    for url in urls:
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/health", trust_env=False)


@pytest.mark.parametrize("arguments", [["--replicas", "0"], ["--replicas", "x"], ["surplus"]])
def test_wrong_arguments_leave_with_64(arguments: list[str]) -> None:
    """Nothing is started for wrong arguments, and one line says what was expected."""
    finished = subprocess.run(
        [UP, *arguments], check=False, capture_output=True, text=True, timeout=LIMIT_SECONDS
    )

    assert 64 == finished.returncode
    assert "up: " in finished.stderr
    assert 1 == len(finished.stderr.splitlines())
