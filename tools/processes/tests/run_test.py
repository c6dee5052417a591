import signal
import threading
from pathlib import Path

import pytest

from tools.processes import ProcessDiedError, Supervisor
from tools.processes.tests.programs import SLEEP, alive, program, server


def test_run_waits_for_the_end_of_a_program(tmp_path: Path) -> None:
    """A program that ends by itself with 0 is no death."""
    with Supervisor(tmp_path) as supervisor:
        supervisor.run(program("once", "print('done')"), limit_seconds=10.0)

        assert "done\n" == (tmp_path / "once.log").read_text()
        assert {} == supervisor.processes


def test_run_reports_another_exit_code_with_the_last_lines(tmp_path: Path) -> None:
    """A program that fails says how."""
    with (
        Supervisor(tmp_path) as supervisor,
        pytest.raises(ProcessDiedError, match=r"exit code 1(.|\n)*out of cheese"),
    ):
        supervisor.run(program("once", "raise SystemExit('out of cheese')"), limit_seconds=10.0)


def test_run_kills_after_its_limit(tmp_path: Path) -> None:
    """A program that does not end is gone when the limit is reported."""
    report = tmp_path / "pid"
    write = f"import os; open({str(report)!r}, 'w').write(str(os.getpid()))"
    with (
        Supervisor(tmp_path / "logs") as supervisor,
        pytest.raises(TimeoutError, match=r"'once' still runs after 0\.2 s"),
    ):
        supervisor.run(program("once", write, SLEEP), limit_seconds=0.2)

    assert not alive(int(report.read_text()))


def test_prepare_is_called_before_each_launch(tmp_path: Path) -> None:
    """What must be cleared away before a start is cleared before a restart as well."""
    from dataclasses import replace

    calls: list[str] = []
    with Supervisor(tmp_path) as supervisor:
        supervisor.start(replace(server("one"), prepare=lambda: calls.append("prepared")))
        supervisor["one"].restart()

    assert ["prepared", "prepared"] == calls


def test_starts_in_several_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    """A start that fails in one thread is that thread's error, and not the other's."""
    errors: list[Exception] = []

    def fail(supervisor: Supervisor) -> None:
        try:
            supervisor.start(program("broken", "raise SystemExit(1)"))
        except ProcessDiedError as error:
            errors.append(error)

    with Supervisor(tmp_path) as supervisor:
        for number in range(5):
            thread = threading.Thread(target=fail, args=[supervisor])
            thread.start()
            supervisor.start(server(f"sound-{number}", "import time; time.sleep(0.02)"))
            thread.join()
        supervisor.check()

        assert 5 == len(errors)
        assert [f"sound-{number}" for number in range(5)] == list(supervisor.processes)


def test_signal_that_ends_a_process_counts_as_a_death(tmp_path: Path) -> None:
    """Only stop() and kill() make an end expected."""
    with Supervisor(tmp_path) as supervisor:
        supervisor.start(server("one"))
        supervisor["one"].signal(signal.SIGTERM)
        supervisor["one"].wait_exit(5.0)

        assert supervisor["one"].died
        supervisor.remove("one")
