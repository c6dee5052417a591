"""The system against Debian's PostgreSQL 15 and Redis 7.0: the oldest servers that it bears.

The target is `manual`: it needs both packages, and fails where they are not installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.tests.against import audit, servers_of_report, suites
from tools.datastores.tests.somebody import Somebody, debian_somebody


@pytest.fixture(scope="module")
def theirs() -> Iterator[Somebody]:
    """Both servers, from their packages' programs."""
    with debian_somebody() as theirs:
        yield theirs


def test_audit_passes_and_leaves_nothing(theirs: Somebody, tmp_path: Path) -> None:
    """The verdict is PASS on both versions, and the servers are as before."""
    before = theirs.catalogue()
    finished = audit(theirs, tmp_path)

    assert 0 == finished.returncode, finished.stdout + finished.stderr
    assert servers_of_report(tmp_path).startswith("PostgreSQL 15.")
    assert ", Redis 7.0." in servers_of_report(tmp_path)
    assert before == theirs.catalogue()


def test_suites_pass_and_leave_nothing(theirs: Somebody, tmp_path: Path) -> None:
    """The counts of PostgreSQL 15 and Redis 7.0 show as well that refusals touch nothing."""
    before = theirs.catalogue()
    passed, others, printed = suites(theirs, tmp_path)

    assert [] == others, printed
    assert [] != passed
    assert before == theirs.catalogue()
