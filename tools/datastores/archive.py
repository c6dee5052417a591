"""A stopped cluster as one file, and back.

GNU tar, since it unpacks three thousand small files several times faster than Python.
"""

import json
import pwd
from pathlib import Path

from tools.datastores.errors import PreparedClusterError
from tools.datastores.ownership import give
from tools.datastores.programs import POSTGRES_VERSION
from tools.processes import ProcessDiedError, ProcessSpecification, Supervisor

_MANIFEST = "cluster.json"
_DATA = "data"
_LIMIT_SECONDS = 120.0
_NOBODY = "65534"
# What is of the one server only: its options, with paths, and its lock.
_LEFT_OUT = ("postmaster.opts", "postmaster.pid")


def pack(folder: Path, output: Path, supervisor: Supervisor) -> None:
    """Packs the stopped cluster in ``folder/data``; the same cluster gives the same bytes."""
    (folder / _MANIFEST).write_text(json.dumps({"postgres": POSTGRES_VERSION}))
    for name in _LEFT_OUT:
        (folder / _DATA / name).unlink(missing_ok=True)
    _tar(
        supervisor,
        *("--create", "--file", str(output), "--directory", str(folder)),
        *("--format=gnu", "--sort=name", "--mtime=@0", "--numeric-owner"),
        *(f"--owner={_NOBODY}", f"--group={_NOBODY}", _MANIFEST, _DATA),
    )


def unpack(archive: Path, folder: Path, supervisor: Supervisor, *, user: str | None) -> Path:
    """Unpacks a cluster below `folder`, for `user` or the caller, and gives its data directory.

    Raises PreparedClusterError when the archive is missing, no cluster, or another server's.
    """
    if not archive.is_file():
        message = f"there is no prepared cluster at {archive}"
        raise PreparedClusterError(message)
    try:
        _tar(
            supervisor,
            *("--extract", "--file", str(archive.resolve()), "--directory", str(folder)),
            *("--preserve-permissions", "--numeric-owner"),
        )
        manifest = json.loads((folder / _MANIFEST).read_text())
    except (ProcessDiedError, OSError, ValueError) as error:
        message = f"{archive} is not a prepared cluster"
        raise PreparedClusterError(message) from error
    if manifest != {"postgres": POSTGRES_VERSION}:
        message = f"{archive} was made for {manifest}, and the server here is {POSTGRES_VERSION}"
        raise PreparedClusterError(message)
    data = folder / _DATA
    if user is not None and data.stat().st_uid != pwd.getpwnam(user).pw_uid:
        for path in (data, *data.rglob("*")):  # where nobody has another number
            give(path, user)
    return data


def _tar(supervisor: Supervisor, *arguments: str) -> None:
    specification = ProcessSpecification(name="tar", argv=["/bin/tar", *arguments])
    supervisor.run(specification, _LIMIT_SECONDS)
