import os
import stat
import subprocess
from pathlib import Path

import pytest

from tools.datastores import ServerProgramsError, programs
from tools.datastores.programs import POSTGRES_VERSION, postgres_program, valkey_program


def test_programs_are_the_pinned_versions() -> None:
    """The wheels' versions are the servers', but for the packaging's last number."""
    postgres = _output(postgres_program("postgres"), "--version")
    valkey = _output(valkey_program(), "--version")

    assert f"PostgreSQL) {POSTGRES_VERSION.rpartition('.')[0]}" in postgres
    assert "v=9.1" in valkey


@pytest.mark.parametrize("program", [postgres_program("postgres"), valkey_program()])
def test_every_user_may_execute_them(program: Path) -> None:
    """As root the programs lie where the unprivileged user may enter; others use them in place."""
    if os.geteuid() == 0:
        closed = [each for each in program.parents if not each.stat().st_mode & stat.S_IXOTH]
        assert [] == closed

    assert os.access(program, os.X_OK)


def test_folder_that_others_may_write_in_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else could put programs of their own there."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    shelf.chmod(0o777)
    monkeypatch.setattr(programs, "_shelf_path", lambda: shelf)

    with pytest.raises(ServerProgramsError, match="others may write in it"):
        programs._shelf()


def test_copy_is_made_once_and_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a closed folder the pieces are copied to an open one, and the second time are there."""
    source = tmp_path / "closed"
    (source / "pieces/bin").mkdir(parents=True)
    (source / "pieces/bin/program").write_text("first")
    source.chmod(0o700)
    shelf = tmp_path / "shelf"
    monkeypatch.setattr(programs, "_shelf_path", lambda: shelf)
    monkeypatch.setattr(programs, "_is_root", lambda: True)

    copy = programs._public(source, ["pieces"], "thing-1.0")
    (source / "pieces/bin/program").write_text("second")
    again = programs._public(source, ["pieces"], "thing-1.0")

    assert shelf / "thing-1.0" == copy == again
    assert "first" == (copy / "pieces/bin/program").read_text()
    assert 0o755 == (copy / "pieces").stat().st_mode & 0o777


def test_missing_package_is_named() -> None:
    """Without the wheel there is no server."""
    with pytest.raises(ServerProgramsError, match="package no_such_wheel is not installed"):
        programs._package("no_such_wheel")


def _output(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
