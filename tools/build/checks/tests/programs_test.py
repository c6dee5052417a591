import dataclasses
import errno
import os
import pathlib
import subprocess
from typing import Any

import pytest

from tools.build.checks import lint, sandbox, strict_types

GOOD = '"""A module."""\n\nANSWER: int = 42\n'
FORBIDDEN = GOOD + "print(ANSWER)\n"
UGLY = GOOD.replace(" = ", "   =   ")
MISTYPED = GOOD.replace("int", "str")
RUFF = os.environ["RUFF"]


@pytest.fixture
def manifest(tmp_path: pathlib.Path) -> pathlib.Path:
    """A manifest of one file, module.py beside it."""
    file = tmp_path / "manifest.txt"
    file.write_text(f"source {tmp_path}/module.py\n")
    return file


@pytest.mark.parametrize(
    ("subcommand", "source", "expected"),
    [
        ("check", GOOD, 0),
        ("check", FORBIDDEN, 1),
        ("check", "def (:\n", 1),
        ("format --check", GOOD, 0),
        ("format --check", UGLY, 1),
    ],
)
def test_lint_and_format(
    manifest: pathlib.Path, subcommand: str, source: str, expected: int
) -> None:
    """What breaks a rule or is not formatted fails."""
    manifest.with_name("module.py").write_text(source)

    assert lint.main(str(manifest), RUFF, *subcommand.split()) == expected


def check_types(manifest: pathlib.Path, source: str) -> tuple[int, str]:
    """Runs the check on one module in a process of its own, since it narrows sys.path."""
    manifest.with_name("module.py").write_text(source)
    command = [os.environ["TYPES"], str(manifest)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    return ended.returncode, ended.stdout


def test_sound_types_pass(manifest: pathlib.Path) -> None:
    """What is well typed passes."""
    assert check_types(manifest, GOOD) == (0, "mypy: 1 files, exit code 0\n")


def test_unsound_types_fail(manifest: pathlib.Path) -> None:
    """What is mistyped fails, and so does what only the machine has installed."""
    code, said = check_types(manifest, MISTYPED + "import pip\n")

    assert code == 1
    assert 'expression has type "int", variable has type "str"' in said
    assert 'Cannot find implementation or library stub for module named "pip"' in said


def test_nothing_to_check_is_no_success(tmp_path: pathlib.Path) -> None:
    """An empty manifest means that something is broken, not that all is well."""
    empty = tmp_path / "manifest.txt"
    empty.write_text("generated a_pb2.py\n")

    assert lint.main(str(empty), RUFF, "check") == 1
    assert strict_types.main(str(empty)) == 1


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/c/sandbox/linux-sandbox/7/execroot/w", "linux-sandbox"),
        ("/c/sandbox/processwrapper-sandbox/7/execroot/w", "processwrapper-sandbox"),
        ("/c/execroot/w", None),
    ],
)
def test_the_sandbox_is_known_by_its_folder(folder: str, expected: str | None) -> None:
    """Bazel names the kind of sandbox in the path."""
    assert expected == sandbox.strategy(folder)


SOUND = sandbox.Surroundings(
    folder="/c/sandbox/linux-sandbox/7/execroot/w",
    user=65534,
    interfaces=("lo",),
    route=errno.ENETUNREACH,
    workspace_file=False,
)


def test_a_sound_sandbox_has_no_complaints() -> None:
    """Loopback only, no root, declared files alone."""
    assert sandbox.complaints(SOUND) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"folder": "/c/execroot/w"}, "outside a sandbox"),
        ({"user": 0}, "root"),
        ({"interfaces": ("lo", "eth0")}, "eth0"),
        ({"route": 0}, "a route to"),
        ({"workspace_file": True}, "nobody declared"),
    ],
)
def test_each_broken_promise_is_found(change: dict[str, Any], complaint: str) -> None:
    """Each promise of the sandbox is missed when it alone is broken."""
    (found,) = sandbox.complaints(dataclasses.replace(SOUND, **change))

    assert complaint in found


def test_the_other_sandbox_promises_less() -> None:
    """Without user namespaces the user and the network are the caller's."""
    folder = "/c/sandbox/processwrapper-sandbox/7/execroot/w"
    around = dataclasses.replace(SOUND, folder=folder, user=0, interfaces=("lo", "eth0"), route=0)

    assert sandbox.complaints(around) == []
