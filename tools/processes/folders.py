"""Working folders that do not outlive their owner by much.

A folder is locked by whoever made it. The lock goes with the process, however that ended, so a
folder without one is stale, and the next one to make a folder removes it. Process numbers would
not do: sandboxes share /tmp, and their numbers repeat.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

# Short, because the path of a unix socket has 107 bytes; a sandboxed test's own folder is longer.
_DISK = Path("/tmp")  # noqa: S108 - names are random and made by mkdtemp
_MEMORY = Path("/dev/shm")  # noqa: S108 - as above
_LEAST_FREE_BYTES = 2**30
_PREFIX = "wt.live-"
_UNLOCKED_PREFIX = "wt.new-"
_UNLOCKED_LIMIT_SECONDS = 3600.0


class WorkingFolder:
    """A locked folder, removed when the block ends or, at the latest, by a successor."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def create(
        cls,
        label: str,
        *,
        in_memory: bool = False,
        before_sweep: Callable[[Path], None] | None = None,
    ) -> Self:
        """Makes a folder ``/tmp/wt.live-<label>-<random>``, mode 0711, and sweeps stale ones.

        0711 lets an unprivileged server reach its own folder inside, and lists nothing to others.
        `in_memory` puts it into /dev/shm instead, where that has a gigabyte to spare.
        `before_sweep` is called with each stale folder before it is removed.
        """
        sweep(before_sweep)
        parent = _MEMORY if in_memory and _memory_is_plenty() else _DISK
        # Renamed once it is locked: under the name that sweepers look for, it always is.
        made = Path(tempfile.mkdtemp(prefix=f"{_UNLOCKED_PREFIX}{label}-", dir=parent))
        descriptor = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        made.chmod(0o711)
        path = made.with_name(_PREFIX + made.name.removeprefix(_UNLOCKED_PREFIX))
        made.rename(path)
        return cls(path, descriptor)

    def remove(self) -> None:
        """Removes the folder with all that is in it, then gives up the lock."""
        if self._descriptor >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()


def sweep(before: Callable[[Path], None] | None = None) -> list[Path]:
    """Removes this user's working folders whose owners are gone; gives their paths."""
    swept = []
    for path in _matching(_PREFIX):
        with contextlib.suppress(OSError), _locked_for_removal(path):
            if before is not None:
                before(path)
            shutil.rmtree(path, ignore_errors=True)
            swept.append(path)
    for path in _matching(_UNLOCKED_PREFIX):
        # Its maker was killed between two system calls, or is just about to lock it.
        with contextlib.suppress(OSError):
            status = path.lstat()
            old = time.time() - status.st_mtime > _UNLOCKED_LIMIT_SECONDS
            if old and status.st_uid == os.geteuid():
                shutil.rmtree(path, ignore_errors=True)
                swept.append(path)
    return swept


def _matching(prefix: str) -> list[Path]:
    return [path for parent in (_DISK, _MEMORY) for path in parent.glob(f"{prefix}*")]


def _memory_is_plenty() -> bool:
    try:
        status = os.statvfs(_MEMORY)
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return False
    available = next(line for line in lines if line.startswith("MemAvailable:"))
    free = (status.f_bavail * status.f_frsize, int(available.split()[1]) * 1024)
    return os.access(_MEMORY, os.W_OK) and min(free) > _LEAST_FREE_BYTES


@contextlib.contextmanager
def _locked_for_removal(path: Path) -> Iterator[None]:
    """Holds a stale folder's lock. Raises OSError when it is alive, gone, or somebody else's."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise PermissionError(path)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
