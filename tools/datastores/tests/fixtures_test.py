"""The fixtures that other rooms use, in a pytest of their own."""

import os
import subprocess
import sys
from pathlib import Path

_TESTS = """
async def test_one(isolated_database, postgres, valkey):
    names = [isolated_database("alpha"), isolated_database("alpha")]
    assert ["alpha_test_1", "alpha_test_2"] == names
    assert set(names) < set(postgres.databases)
    assert valkey.admin.ping()

def test_two(postgres):
    assert ["alpha", "beta"] == postgres.databases
"""
_EMPTY = """
def test_empty(datastores):
    assert [] == datastores.postgres.databases
"""


def _pytest(folder: Path, source: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    (folder / "some_test.py").write_text(source)
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *("-p", "tools.datastores.fixtures", "-c", "pyproject.toml"),
        *("--rootdir", str(folder), str(folder / "some_test.py")),
    ]
    return subprocess.run(
        command,
        env={"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        cwd=Path.cwd(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_fixtures_serve_a_prepared_cluster(tmp_path: Path, cluster: Path) -> None:
    """Tests get copies of their service's database, which are gone after each."""
    done = _pytest(tmp_path, _TESTS, WATERTIGHT_CLUSTER=str(cluster))

    assert 0 == done.returncode, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_fixtures_serve_an_empty_postgres_without_a_cluster(tmp_path: Path) -> None:
    """Without WATERTIGHT_CLUSTER there is a server, and no database in it."""
    done = _pytest(tmp_path, _EMPTY)

    assert 0 == done.returncode, done.stdout + done.stderr


def test_wrong_cluster_fails_the_tests(tmp_path: Path) -> None:
    """A path that leads nowhere is an error and no empty server."""
    done = _pytest(tmp_path, _EMPTY, WATERTIGHT_CLUSTER="nowhere.tar")

    assert 1 == done.returncode
    assert "no prepared cluster at nowhere.tar" in done.stdout
