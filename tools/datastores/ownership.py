"""Folders and files that one server alone may read."""

import os
import pwd
from pathlib import Path


def private_folder(path: Path, user: str | None) -> Path:
    """Makes a folder that only `user` (the caller, when None) may enter."""
    path.mkdir(mode=0o700)
    give(path, user)
    return path


def private_file(path: Path, text: str, user: str | None) -> Path:
    """Writes a file that only `user` (the caller, when None) may read, from its first byte on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    give(path, user)
    return path


def give(path: Path, user: str | None) -> None:
    """Hands a path over to a user; None leaves it with the caller."""
    if user is not None:
        account = pwd.getpwnam(user)
        os.chown(path, account.pw_uid, account.pw_gid)
