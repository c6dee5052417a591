"""Shows that the suites of this room would notice: each goes red where the system is broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration.fixtures.seeding import run_suite

TESTS = Path(__file__).parent


@pytest.mark.parametrize(
    ("defect", "suite", "test"),
    [
        (
            "acknowledged-too-early",
            "recovery_test.py",
            "test_fault_in_the_middle_of_work[kill_postgres]",
        ),
        (
            "breaker-stays-open",
            "recovery_test.py",
            "test_fault_in_the_middle_of_work[restart_postgres]",
        ),
        (
            "untyped-errors",
            "recovery_test.py",
            "test_fault_in_the_middle_of_work[terminate_back_ends]",
        ),
        ("outbox-forgets", "usage_test.py", "test_usage_survives_a_redis_that_comes_back_empty"),
    ],
)
def test_goes_red(defect: str, suite: str, test: str, tmp_path: Path) -> None:
    """A system that loses, refuses without a type or does not come back fails its suite."""
    only = test.partition("[")[2].rstrip("]") or test
    result = run_suite(TESTS / suite, tmp_path, defect=defect, only=only)

    assert ([test], []) == (sorted(result.failed), sorted(result.broken)), result.output
