import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.processes import (
    HealthLimitError,
    LauncherError,
    ProcessDiedError,
    ProcessSpecification,
    SpawnError,
    SpecificationError,
    StopLimitError,
    Supervisor,
    unprivileged_user,
)
from tools.processes.tests.programs import READY, SLEEP, alive, eventually, program, server, state


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """A supervisor whose processes are gone after the test."""
    with Supervisor(tmp_path / "logs") as supervisor:
        yield supervisor


def test_dependencies_are_healthy_before_their_dependents_begin(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    """A process begins only when all that it depends on is ready, whatever order they come in."""
    order = tmp_path / "order"
    note = f"open({str(order)!r}, 'a').write"

    supervisor.start(
        server("last", f"{note}('last ')", depends_on=["middle", "first"]),
        server("middle", f"{note}('middle ')", depends_on=["first"]),
        program("first", "import time; time.sleep(0.05)", f"{note}('first ')", READY, SLEEP),
    )

    assert "first middle last " == order.read_text()


def test_independent_processes_start_at_the_same_time(supervisor: Supervisor) -> None:
    """Two processes which each wait for the other's file can only become ready in parallel."""
    meet = (
        "import pathlib, time; here, there = pathlib.Path({0!r}), pathlib.Path({1!r})",
        "here.touch()",
        "while not there.exists(): time.sleep(0.001)",
    )
    one, two = (str(supervisor.log_directory / name) for name in ("one", "two"))

    supervisor.start(
        server("one", *(line.format(one, two) for line in meet)),
        server("two", *(line.format(two, one) for line in meet)),
    )

    assert supervisor["one"].running
    assert supervisor["two"].running


def test_environment_is_what_the_specification_says(supervisor: Supervisor) -> None:
    """Nothing of the caller's environment reaches a process; dependencies' ready lines may."""
    supervisor.start(
        server("first"),
        ProcessSpecification(
            name="second",
            argv=server("second").argv,
            env=lambda ready: {"FIRST_PID": str(ready["first"]["pid"])},
            depends_on=["first"],
        ),
    )

    environment = Path(f"/proc/{supervisor['second'].pid}/environ").read_text()

    assert {
        "PATH=/usr/local/bin:/usr/bin:/bin",
        "LC_ALL=C.UTF-8",
        f"FIRST_PID={supervisor['first'].pid}",
        "",
    } == set(environment.split("\0"))


def test_no_descriptor_of_the_caller_is_inherited(supervisor: Supervisor, tmp_path: Path) -> None:
    """A process has its three standard streams and nothing else open."""
    with (tmp_path / "held").open("w"):
        supervisor.start(server("only"))

    assert {"0", "1", "2"} == {
        entry.name for entry in Path(f"/proc/{supervisor['only'].pid}/fd").iterdir()
    }


def test_unhealthy_process_fails_within_its_limit_with_its_last_lines(
    supervisor: Supervisor,
) -> None:
    """A process that runs and never is ready ends the start, and its log says why."""
    begin = time.monotonic()

    with pytest.raises(HealthLimitError, match=r"stuck.*not healthy within 0\.3 s") as caught:
        supervisor.start(
            program(
                "stuck", "print('waiting for godot', flush=True)", SLEEP, health_limit_seconds=0.3
            )
        )

    assert "waiting for godot" == caught.value.log_tail
    assert time.monotonic() - begin < 2.0
    assert {} == supervisor.processes


def test_death_during_start_is_reported_at_once(supervisor: Supervisor) -> None:
    """A process that ends before it is ready fails the start long before the health limit."""
    begin = time.monotonic()

    with pytest.raises(ProcessDiedError) as caught:
        supervisor.start(
            server("bystander"),
            program("broken", "raise SystemExit('no database')", health_limit_seconds=60.0),
        )

    assert ("broken", 1, "no database") == (
        caught.value.process_name,
        caught.value.exit_code,
        caught.value.log_tail,
    )
    assert "exit code 1" in str(caught.value)
    assert str(caught.value.log_path) in str(caught.value)
    assert time.monotonic() - begin < 5.0


def test_failed_start_leaves_nothing_of_its_own_running(supervisor: Supervisor) -> None:
    """What one failed start began is gone; what an earlier start began goes on."""
    supervisor.start(server("earlier"))
    report = supervisor.log_directory / "pid"

    with pytest.raises(ProcessDiedError):
        supervisor.start(
            program(
                "sibling",
                f"import os; open({str(report)!r}, 'w').write(str(os.getpid()))",
                READY,
                SLEEP,
            ),
            program("broken", "raise SystemExit(3)", depends_on=["sibling"]),
        )

    assert not alive(int(report.read_text()))
    assert ["earlier"] == list(supervisor.processes)
    assert supervisor["earlier"].running


def test_missing_program_is_a_spawn_error(supervisor: Supervisor) -> None:
    """A path that cannot be executed is named."""
    with pytest.raises(SpawnError, match=r"'ghost' could not be executed.*/nowhere/ghost"):
        supervisor.start(ProcessSpecification(name="ghost", argv=["/nowhere/ghost"]))


def test_later_death_is_noticed(supervisor: Supervisor) -> None:
    """check() raises when a process has ended that nobody stopped."""
    supervisor.start(server("victim"))
    supervisor.check()

    supervisor["victim"].signal(signal.SIGKILL)

    assert supervisor["victim"] is supervisor.wait_for_death(5.0)
    with pytest.raises(ProcessDiedError, match=r"'victim' ended by itself \(SIGKILL\)"):
        supervisor.check()
    supervisor.remove("victim")


def test_wait_for_death_gives_none_while_all_live(supervisor: Supervisor) -> None:
    """Waiting for a death that does not happen ends with the limit."""
    supervisor.start(server("lively"))

    assert supervisor.wait_for_death(0.01) is None


def test_leaving_the_block_reports_an_unnoticed_death(tmp_path: Path) -> None:
    """A death that nobody asked about surfaces when the supervisor is left."""

    def lose_one() -> None:
        with Supervisor(tmp_path) as supervisor:
            supervisor.start(server("victim"))
            supervisor["victim"].signal(signal.SIGTERM)
            supervisor["victim"].wait_exit(5.0)

    with pytest.raises(ProcessDiedError, match="'victim' ended by itself"):
        lose_one()


def test_dependents_stop_before_what_they_depend_on(tmp_path: Path) -> None:
    """Leaving the block stops in the reverse order of the start."""
    order = tmp_path / "order"

    def noting(name: str, *, depends_on: tuple[str, ...] = ()) -> ProcessSpecification:
        return server(
            name,
            "import signal, sys",
            f"def end(*_): open({str(order)!r}, 'a').write('{name} '); sys.exit(0)",
            "signal.signal(signal.SIGTERM, end)",
            depends_on=depends_on,
        )

    with Supervisor(tmp_path / "logs") as supervisor:
        supervisor.start(noting("base"), noting("top", depends_on=("base",)))

    assert "top base " == order.read_text()


def test_process_that_ignores_its_stop_signal_is_killed_and_reported(tmp_path: Path) -> None:
    """A stop beyond its limit is an error, and yet nothing is left."""
    with Supervisor(tmp_path) as supervisor:
        supervisor.start(
            program(
                "stubborn",
                "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)",
                READY,
                SLEEP,
                stop_limit_seconds=0.1,
            )
        )
        pid = supervisor["stubborn"].pid

        with pytest.raises(StopLimitError, match=r"stubborn.*within 0\.1 s"):
            supervisor.stop()

    assert not alive(pid)


@pytest.mark.parametrize(
    ("specifications", "message"),
    [
        ([server("a"), server("a")], "two processes are called 'a'"),
        ([server("a", depends_on=["b"])], r"'a' depends on \['b'\], which nobody starts"),
        (
            [server("a", depends_on=["b"]), server("b", depends_on=["a"])],
            "in a circle: (a -> b -> a|b -> a -> b)",
        ),
    ],
)
def test_contradictory_specifications_start_nothing(
    supervisor: Supervisor, specifications: list[ProcessSpecification], message: str
) -> None:
    """Doubled names, unknown dependencies and circles are refused before anything starts."""
    with pytest.raises(SpecificationError, match=message):
        supervisor.start(*specifications)

    assert {} == supervisor.processes


@pytest.mark.parametrize("user", [None, unprivileged_user()])
def test_lost_launcher_is_an_error_and_takes_its_processes_along(
    tmp_path: Path, user: str | None
) -> None:
    """When the launcher is killed its processes die, of another user too, and all calls say so."""
    supervisor = Supervisor(tmp_path)
    supervisor.start(
        ProcessSpecification(
            name="orphan",
            argv=["/bin/sh", "-c", """echo '{"ready": true}'; exec sleep 600"""],
            user=user,
        )
    )
    pid = supervisor["orphan"].pid

    os.kill(supervisor.launcher_pid, signal.SIGKILL)

    assert eventually(lambda: not alive(pid))
    assert eventually(lambda: not supervisor["orphan"].running)
    with pytest.raises(LauncherError):
        supervisor.check()
    with pytest.raises(LauncherError):
        supervisor.start(server("late"))
    supervisor.close()


def test_second_supervisor_does_not_write_into_the_logs_of_the_first(tmp_path: Path) -> None:
    """Two processes of one name in one folder have a log file each."""
    with Supervisor(tmp_path) as one, Supervisor(tmp_path) as two:
        one.start(server("same"))
        two.start(server("same"))

        assert ["same.log", "same-2.log"] == [one["same"].log_path.name, two["same"].log_path.name]


def test_logs_go_to_the_outputs_of_the_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a folder of its own a supervisor logs to what Bazel keeps."""
    monkeypatch.setenv("TEST_UNDECLARED_OUTPUTS_DIR", str(tmp_path))
    with Supervisor() as supervisor:
        supervisor.start(server("logged"))

    assert '"ready": true' in (tmp_path / "processes" / "logged.log").read_text()


def test_paused_process_is_stopped_all_the_same(tmp_path: Path) -> None:
    """A frozen process is thawed to be stopped, and does not wait for its limit."""
    with Supervisor(tmp_path) as supervisor:
        supervisor.start(server("frozen"))
        supervisor["frozen"].pause()
        pid = supervisor["frozen"].pid
        assert eventually(lambda: "T" == state(pid))

    assert not alive(pid)
