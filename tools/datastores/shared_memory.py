"""What a killed PostgreSQL leaves outside of its folder.

Each server has one System V segment of 56 bytes, which guards its data directory. It outlives a
SIGKILL; a restart in the same directory takes it over, and nothing else ever removes it.
"""

import ctypes
import time
from pathlib import Path

_IPC_RMID = 0
_SEGMENTS = Path("/proc/sysvipc/shm")
_POLL_SECONDS = 0.002
_KEY_COLUMN, _IDENTIFIER_COLUMN, _ATTACHED_COLUMN = 0, 1, 6
_SHARED_MEMORY_LINE = 6


def clear_after_unclean_end(data: Path, limit_seconds: float = 5.0) -> None:
    """Waits until no process of a killed server is left, then removes its segment and lock file.

    The lock file goes because it names a process number, which may meanwhile be another process's.
    Call it only when the server is known to have ended. Raises TimeoutError when somebody still
    holds the segment after the limit.
    """
    lock_file = data / "postmaster.pid"
    try:
        lines = lock_file.read_text().splitlines()
    except FileNotFoundError:
        return
    if len(lines) > _SHARED_MEMORY_LINE:
        key, identifier = (int(field) for field in lines[_SHARED_MEMORY_LINE].split())
        deadline = time.monotonic() + limit_seconds
        while _attached(key, identifier):
            if time.monotonic() > deadline:
                message = f"shared memory {identifier} of {data} is still in use"
                raise TimeoutError(message)
            time.sleep(_POLL_SECONDS)
        if _attached(key, identifier) is not None:
            ctypes.CDLL(None).shmctl(identifier, _IPC_RMID, None)
    lock_file.unlink(missing_ok=True)


def clear_stale_folder(folder: Path) -> None:
    """The same for all servers that had their data somewhere in a folder whose owner is gone."""
    for lock_file in folder.glob("**/postmaster.pid"):
        clear_after_unclean_end(lock_file.parent)


def _attached(key: int, identifier: int) -> int | None:
    """How many processes have the segment attached; None when there is no such segment."""
    for line in _SEGMENTS.read_text().splitlines()[1:]:
        fields = line.split()
        # The key besides: the kernel gives identifiers again.
        if int(fields[_IDENTIFIER_COLUMN]) == identifier and int(fields[_KEY_COLUMN]) == key:
            return int(fields[_ATTACHED_COLUMN])
    return None
