import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.processes import HealthLimitError, ProcessDiedError, ReadyLine, Supervisor
from tools.processes.specification import ProcessSpecification
from tools.processes.tests.programs import READY, SLEEP, alive, eventually, program, server, state

_PARENT_OF_A_DAEMON = (
    "import os, sys, time",
    "if os.fork() == 0:",
    "    os.setsid()",
    "    if os.fork() == 0:",
    "        open(sys.argv[0] if False else {path!r}, 'w').write(str(os.getpid()))",
    "        time.sleep(600)",
    "    os._exit(0)",
)
_HTTP_SERVER = (
    "import http.server, json, os",
    "class Handler(http.server.BaseHTTPRequestHandler):",
    "    def do_GET(self):",
    "        self.send_response(503 if os.path.exists({path!r}) else 200)",
    "        self.end_headers()",
    "web = http.server.HTTPServer(('127.0.0.1', 0), Handler)",
    "line = json.dumps(dict(ready=True, http_port=web.server_port))",
    "os.write(1, line.encode() + b'\\n')",
    "web.serve_forever()",
)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """A supervisor whose processes are gone after the test."""
    with Supervisor(tmp_path / "logs") as supervisor:
        yield supervisor


def test_stop_waits_for_the_end(supervisor: Supervisor) -> None:
    """After stop() the process is gone, and check() has nothing to complain about."""
    supervisor.start(server("one"))
    process = supervisor["one"]
    pid = process.pid

    process.stop()

    assert (False, -signal.SIGTERM, False) == (process.running, process.exit_code, alive(pid))
    supervisor.check()


def test_kill_ends_what_the_process_started(supervisor: Supervisor, tmp_path: Path) -> None:
    """SIGKILL reaches children, also those that moved to a session of their own."""
    path = tmp_path / "grandchild"
    supervisor.start(
        server(
            "parent",
            "import os, time",
            "if os.fork() == 0:",
            "    os.setsid()",
            f"    open({str(path)!r}, 'w').write(str(os.getpid()))",
            "    time.sleep(600)",
        )
    )
    assert eventually(lambda: path.exists() and path.read_text() != "")
    grandchild = int(path.read_text())
    assert alive(grandchild)

    supervisor["parent"].kill()

    assert -signal.SIGKILL == supervisor["parent"].exit_code
    assert eventually(lambda: not alive(grandchild))
    supervisor.check()


def test_what_a_process_leaves_in_its_group_ends_with_it(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    """A child that outlives its parent's orderly stop is ended as well."""
    path = tmp_path / "child"
    supervisor.start(
        server(
            "parent",
            "import os, signal, time",
            "if os.fork() == 0:",
            "    signal.signal(signal.SIGTERM, signal.SIG_IGN)",
            f"    open({str(path)!r}, 'w').write(str(os.getpid()))",
            "    time.sleep(600)",
        )
    )
    assert eventually(lambda: path.exists() and path.read_text() != "")

    supervisor["parent"].stop()

    assert eventually(lambda: not alive(int(path.read_text())))


def test_daemons_end_with_the_supervisor(tmp_path: Path) -> None:
    """A double fork does not get away: the launcher inherits it and ends it."""
    path = tmp_path / "daemon"
    with Supervisor(tmp_path / "logs") as supervisor:
        supervisor.start(
            server("one", *(line.format(path=str(path)) for line in _PARENT_OF_A_DAEMON))
        )
        assert eventually(lambda: path.exists() and path.read_text() != "")
        daemon = int(path.read_text())
        assert alive(daemon)

    assert not alive(daemon)


def test_pause_freezes_and_resume_thaws(supervisor: Supervisor) -> None:
    """A paused process is stopped in the kernel's eyes, and runs on after resume()."""
    supervisor.start(server("one"))
    process = supervisor["one"]

    process.pause()

    assert eventually(lambda: "T" == state(process.pid))
    assert process.paused
    with pytest.raises(HealthLimitError):
        process.wait_healthy(0.05)
    process.resume()
    process.wait_healthy()
    assert eventually(lambda: "S" == state(process.pid))
    assert not process.paused


def test_restart_gives_a_new_process_and_keeps_handle_and_log(supervisor: Supervisor) -> None:
    """The handle stays, the number changes, and the log goes on in the same file."""
    supervisor.start(server("one"))
    process = supervisor["one"]
    before = process.pid

    process.restart()

    assert before != process.pid
    assert process.pid == process.ready["pid"]
    ready = [json.loads(line)["pid"] for line in process.log_path.read_text().splitlines()]
    assert [before, process.pid] == ready


def test_restart_after_kill_is_healthy_again(supervisor: Supervisor) -> None:
    """A killed process comes back."""
    supervisor.start(server("one"))
    supervisor["one"].kill()

    supervisor["one"].start()

    assert supervisor["one"].running
    supervisor.check()


def test_restart_may_change_the_specification(supervisor: Supervisor) -> None:
    """A restart with another specification runs that one, and keeps its name."""
    supervisor.start(server("one"))

    supervisor["one"].restart(server("one", "print('second edition', flush=True)"))

    assert "second edition" in supervisor["one"].log_tail()
    with pytest.raises(ValueError, match="'one' cannot become 'two'"):
        supervisor["one"].restart(server("two"))


def test_old_ready_line_does_not_count_for_a_new_start(supervisor: Supervisor) -> None:
    """A restarted process that never says so is not ready, whatever it said before."""
    supervisor.start(server("one"))

    with pytest.raises(HealthLimitError):
        supervisor["one"].restart(program("one", SLEEP, health_limit_seconds=0.2))


def test_wait_healthy_asks_the_living_process(supervisor: Supervisor, tmp_path: Path) -> None:
    """With a health path, healthy means that it answers 200 now."""
    flag = tmp_path / "sick"
    supervisor.start(
        ProcessSpecification(
            name="web",
            argv=program("web", *(line.format(path=str(flag)) for line in _HTTP_SERVER)).argv,
            ready=ReadyLine(health_path="/health"),
        )
    )
    process = supervisor["web"]
    process.wait_healthy()

    flag.touch()
    with pytest.raises(HealthLimitError, match=r"within 0\.1 s"):
        process.wait_healthy(0.1)
    flag.unlink()
    process.wait_healthy()


def test_wait_healthy_fails_at_once_for_a_dead_process(supervisor: Supervisor) -> None:
    """Nobody waits for the health of what has died."""
    supervisor.start(server("one"))
    supervisor["one"].signal(signal.SIGKILL)
    supervisor["one"].wait_exit(5.0)

    with pytest.raises(ProcessDiedError):
        supervisor["one"].wait_healthy(60.0)
    supervisor.remove("one")


def test_wait_exit_has_a_limit(supervisor: Supervisor) -> None:
    """Waiting for the end of a process that goes on ends with the limit."""
    supervisor.start(server("one"))

    with pytest.raises(TimeoutError, match=r"'one' still runs after 0\.01 s"):
        supervisor["one"].wait_exit(0.01)


def test_ready_line_may_come_in_pieces_among_others(supervisor: Supervisor) -> None:
    """Only a whole JSON object with "ready": true counts, wherever it stands in the log."""
    supervisor.start(
        program(
            "chatty",
            "import sys, time",
            "say = lambda text: (sys.stdout.write(text), sys.stdout.flush())",
            'say(\'starting\\n{\\n{"ready": false}\\n[1]\\n{"ready": "yes"}\\n{"rea\')',
            "time.sleep(0.02)",
            'say(\'dy": true, "port": 7}\\nmore\\n\')',
            SLEEP,
        )
    )

    assert {"ready": True, "port": 7} == supervisor["chatty"].ready


def test_log_tail_gives_the_last_lines(supervisor: Supervisor) -> None:
    """The tail is cut at whole lines and survives bytes that are no text."""
    supervisor.start(program("one", "import os; os.write(1, b'1\\n\\xff2\\n3\\n')", READY, SLEEP))

    assert ["\ufffd2", "3"] == supervisor["one"].log_tail(3).splitlines()[:2]
