"""What happens when the process that owns a supervisor is killed with -9."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import tools.processes
from tools.processes import folders, unprivileged_user
from tools.processes.folders import WorkingFolder, sweep
from tools.processes.launcher import descendants
from tools.processes.tests.programs import alive, eventually

_WORKSPACE = Path(tools.processes.__file__).parents[2]

# Its child starts a process in another session. A shell, since nobody may not execute every Python.
_CHILD = """setsid sleep 600 & echo '{"ready": true}'; exec sleep 600"""
_OWNER = """
    import json, os, sys, threading, time
    from tools.processes import ProcessSpecification, Supervisor, WorkingFolder

    child, user, manner = json.loads(sys.argv[1])
    with WorkingFolder.create("owner") as folder, Supervisor(folder.path) as supervisor:
        specification = ProcessSpecification(name="child", argv=["/bin/sh", "-c", child], user=user)
        # From a thread that ends: the death signal of a plain child would fire right here.
        starter = threading.Thread(target=supervisor.start, args=[specification])
        starter.start()
        starter.join()
        if manner == "adopting":
            supervisor.adopt(folder.path)
        print(json.dumps([str(folder.path), supervisor.launcher_pid]), flush=True)
        if manner == "fork":
            os.fork()  # a copy of the owner holds the control socket open
        time.sleep(600)
"""


@dataclass(frozen=True)
class Owner:
    """A process that owns a supervisor with one process, which has a child itself."""

    process: "subprocess.Popen[bytes]"
    folder: Path
    launcher: int
    pids: frozenset[int]

    def kill(self) -> None:
        """Kills the owner alone and waits until it is gone."""
        self.process.kill()
        self.process.wait(5.0)


@contextlib.contextmanager
def started_owner(user: str | None = None, manner: str = "plain") -> Iterator[Owner]:
    """Runs an owner; its whole group is gone afterwards, whatever the test did."""
    arguments = json.dumps([_CHILD, user, manner])
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_OWNER), arguments],
        env={**os.environ, "PYTHONPATH": str(_WORKSPACE)},
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            folder, launcher = json.loads(process.stdout.readline())
            assert eventually(lambda: len(descendants(launcher)) == 2)
            pids = frozenset([launcher, *descendants(launcher)])
            yield Owner(process, Path(folder), launcher, pids)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("manner", ["plain", "fork"])
@pytest.mark.parametrize("user", [None, unprivileged_user()])
def test_kill_of_the_owner_leaves_no_process(user: str | None, manner: str) -> None:
    """Launcher, process and grandchild vanish with their owner, even if a fork of it lives on."""
    with started_owner(user, manner) as owner:
        owner.kill()

        assert eventually(lambda: not any(map(alive, owner.pids)))


def test_kill_of_the_whole_group_leaves_no_process() -> None:
    """A test runner that kills its test's process group does not leave the servers behind."""
    with started_owner() as owner:
        os.killpg(owner.process.pid, signal.SIGKILL)

        assert eventually(lambda: not any(map(alive, owner.pids)))


def test_interrupt_of_the_owner_leaves_no_process() -> None:
    """Ctrl-C unwinds the owner's block, which stops all and removes the folder."""
    with started_owner() as owner:
        os.killpg(owner.process.pid, signal.SIGINT)
        owner.process.wait(5.0)

        assert not any(map(alive, owner.pids))
        assert not owner.folder.exists()


def test_living_folder_is_not_swept_and_a_stale_one_is() -> None:
    """The owner's lock decides, whichever process sweeps; the lock goes with the process."""
    with started_owner() as owner:
        sweep()
        assert owner.folder.is_dir()

        owner.kill()

        with WorkingFolder.create("successor") as successor:
            assert not owner.folder.exists()
            assert successor.path.is_dir()
        assert not successor.path.exists()


def test_adopted_folder_vanishes_without_a_successor() -> None:
    """What a killed owner's launcher has adopted is removed at once."""
    with started_owner(manner="adopting") as owner:
        assert owner.folder.is_dir()

        owner.kill()

        assert eventually(lambda: not alive(owner.launcher))
        assert not owner.folder.exists()


def test_sweep_tells_what_it_is_about_to_remove() -> None:
    """Whoever must release something else first is told the folder while it is still there."""
    seen: dict[Path, bool] = {}
    with started_owner() as owner:
        owner.kill()

        sweep(lambda path: seen.update({path: path.is_dir()}))

        assert seen[owner.folder]
        assert not owner.folder.exists()


def test_folder_is_short_enough_for_a_socket() -> None:
    """A unix socket's path has 107 bytes; the folder leaves more than half of them."""
    with WorkingFolder.create("environment") as folder:
        assert len(str(folder.path)) < 50
        assert 0o711 == folder.path.stat().st_mode & 0o777


def test_folder_in_memory_needs_memory_to_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a large /dev/shm gets a folder on disk."""
    monkeypatch.setattr(folders, "_LEAST_FREE_BYTES", 0)
    with WorkingFolder.create("fast", in_memory=True) as folder:
        assert Path("/dev/shm") == folder.path.parent  # noqa: S108

    monkeypatch.setattr(folders, "_LEAST_FREE_BYTES", 2**60)
    with WorkingFolder.create("fast", in_memory=True) as folder:
        assert Path("/tmp") == folder.path.parent  # noqa: S108


def test_folder_of_nobody_we_know_is_left_alone(tmp_path: Path) -> None:
    """Names that are not ours stay, and so does what only looks like a folder."""
    link = Path("/tmp/wt.live-link")  # noqa: S108
    link.unlink(missing_ok=True)
    link.symlink_to(tmp_path)
    (tmp_path / "precious").touch()
    try:
        assert link not in sweep()
    finally:
        link.unlink()

    assert (tmp_path / "precious").exists()
