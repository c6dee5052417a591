"""What is left of datastores when their owner is killed with -9: nothing."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import tools.datastores
from tools.datastores import PostgresServer
from tools.datastores.shared_memory import clear_after_unclean_end
from tools.processes import ProcessSpecification, Supervisor, unprivileged_user
from tools.processes.launcher import descendants
from tools.processes.tests.programs import alive, eventually

_OWNER = """
import json, sys, time
from tools.datastores import Datastores
with Datastores() as datastores:
    data = datastores.postgres.admin.fetch("SHOW data_directory")[0]["data_directory"]
    print(json.dumps([datastores.supervisor.launcher_pid, data]), flush=True)
    time.sleep(600)
"""


@dataclass(frozen=True)
class Owner:
    """A process with running datastores: its launcher, their processes, folder and segment."""

    process: "subprocess.Popen[bytes]"
    launcher: int
    pids: frozenset[int]
    folder: Path
    segment: str


@contextmanager
def started_owner() -> Iterator[Owner]:
    """Runs an owner; its group is gone afterwards."""
    workspace = Path(tools.datastores.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(workspace), *sys.path])}
    environment.pop("TEST_UNDECLARED_OUTPUTS_DIR", None)
    with subprocess.Popen(
        [sys.executable, "-c", _OWNER],
        env=environment,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            launcher, data = json.loads(process.stdout.readline())
            lines = Path(data, "postmaster.pid").read_text().splitlines()
            pids = frozenset([launcher, *descendants(launcher)])
            yield Owner(process, launcher, pids, Path(data).parent, lines[6].split()[1])
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def segments() -> set[str]:
    """The identifiers of all System V shared memory."""
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return {line.split()[1] for line in lines}


def _data(server: PostgresServer) -> str:
    return str(server.admin.fetch("SHOW data_directory")[0]["data_directory"])


def test_kill_of_the_owner_leaves_nothing() -> None:
    """No process, no folder and no shared memory is left of either server."""
    with started_owner() as owner:
        assert len(owner.pids) > 5
        assert owner.segment in segments()

        owner.process.kill()

        assert eventually(lambda: not any(map(alive, owner.pids)))
        assert not owner.folder.exists()  # the launcher, which went last, has removed it
        assert owner.segment not in segments()


def test_kill_of_the_launcher_leaves_no_process_and_the_next_start_sweeps_the_rest() -> None:
    """Even without the launcher the processes go, and folder and segment go with the next start."""
    with started_owner() as owner:
        os.kill(owner.process.pid, signal.SIGSTOP)  # it must not tidy up itself
        os.kill(owner.launcher, signal.SIGKILL)
        owner.process.kill()
        owner.process.wait(5.0)
        assert eventually(lambda: not any(map(alive, owner.pids)))
        assert owner.folder.exists()

        with PostgresServer.empty():
            assert not owner.folder.exists()
            assert owner.segment not in segments()


def test_lock_that_names_another_process_does_not_stand_in_the_way(
    cluster: Path, tmp_path: Path
) -> None:
    """A killed server starts again though its number meanwhile is another process's."""
    with (
        Supervisor(tmp_path) as supervisor,
        PostgresServer.from_prepared(cluster, supervisor=supervisor) as server,
    ):
        supervisor.start(
            ProcessSpecification(
                name="other",
                argv=["/bin/sh", "-c", "exec sleep 600"],
                user=unprivileged_user(),
                ready=lambda _: {},
            )
        )
        lock = Path(_data(server), "postmaster.pid")
        server.kill()
        _, *lines = lock.read_text().splitlines(keepends=True)
        lock.write_text("".join([f"{supervisor['other'].pid}\n", *lines]))

        server.process.start()

        assert [{"one": 1}] == server.admin.fetch("SELECT 1 AS one")


def test_unclean_end_is_cleared_away(cluster: Path) -> None:
    """After a kill the segment and the lock are removed before anything else is."""
    with PostgresServer.from_prepared(cluster) as server:
        data = Path(_data(server))
        segment = (data / "postmaster.pid").read_text().splitlines()[6].split()[1]
        server.kill()
        assert segment in segments()

        clear_after_unclean_end(data)

        assert segment not in segments()
        assert not (data / "postmaster.pid").exists()
        clear_after_unclean_end(data)
