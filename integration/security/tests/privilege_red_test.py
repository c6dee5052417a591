"""That the suite of privileges goes red for what it is there to notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration.fixtures.seeding import run_suite

SUITE = Path(__file__).with_name("privilege_test.py")

FAILS = {
    "existence-told": {
        "test_what_is_anothers_is_as_what_is_nobodys[neighbour]",
        "test_role_gets_what_the_table_says[stranger]",
    },
    "exchange-widens": {"test_exchange_gives_no_scope_that_the_user_lacks"},
    "scope-unasked": {
        "test_role_gets_what_the_table_says[member]",
        "test_edge_asks_for_just_the_declared_scopes",
    },
}


@pytest.mark.parametrize("defect", FAILS)
def test_defect_turns_its_tests_red(defect: str, tmp_path: Path) -> None:
    """Each defect fails the tests that are about it, and breaks none."""
    names = {name.replace("[", " and ").removesuffix("]") for name in FAILS[defect]}
    only = " or ".join(f"({name})" for name in names)
    result = run_suite(SUITE, tmp_path, defect=defect, only=only)

    assert FAILS[defect] == result.failed, result.output
    assert not result.broken, result.output
