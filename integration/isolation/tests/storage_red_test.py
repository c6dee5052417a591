"""The storage suite and the key space suite, each on a system that is wrong in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from integration.fixtures.seeding import run_suite

FOLDER: Final = Path(__file__).parent

# Suite, defect, and what must fail, as far as its name goes: each of these once at least.
SEEDED: Final = (
    (
        "storage_test.py",
        "tables-unsecured",
        (
            "test_no_row_of_another_is_read[auth]",
            "test_no_row_of_another_is_read[analytics]",
            "test_no_row_of_another_is_read[backend]",
            "test_no_row_of_another_is_changed[update-backend]",
            "test_no_row_of_another_is_changed[take-auth]",
            "test_no_row_is_written_for_another[plain-backend]",
            "test_no_row_is_written_for_another[upsert-auth]",
            "test_no_row_is_written_for_another[returning-analytics]",
            "test_own_row_is_not_given_away[auth]",
            "test_every_way_of_asking_gives_own_rows_alone[plain]",
            "test_every_way_of_asking_gives_own_rows_alone[modifying cte]",
            "test_counts_and_sums_are_ones_own",
            "test_condition_that_fails_meets_no_row_of_another[division]",
            "test_what_is_anothers_is_what_does_not_exist[message in a thread]",
            "test_what_is_anothers_is_what_does_not_exist[lock]",
            "test_what_is_anothers_is_what_does_not_exist[plan]",
            "test_row_security_cannot_be_switched_off",
            "test_policies_are_not_put_aside[truncate messages]",
        ),
    ),
    (
        "storage_test.py",
        "keys-without-owner",
        (
            "test_what_is_anothers_is_what_does_not_exist[thread of that name]",
            "test_what_is_anothers_is_what_does_not_exist[usage of that name]",
        ),
    ),
    (
        "requests_test.py",
        "database-scope",
        (
            "test_users_in_turn_over_one_connection_have_their_own",
            "test_disconnected_clients_leave_nothing_to_the_next[before the answer]",
        ),
    ),
    (
        "key_space_test.py",
        "cache-key",
        (
            "test_every_key_and_channel_has_exactly_one_owner",
            "test_warm_caches_serve_each_thread_its_own",
            "test_planted_value_is_served_to_its_keys_owner_alone",
            "test_caches_that_come_back_empty_are_filled_with_ones_own[flushed]",
        ),
    ),
    (
        "key_space_test.py",
        "unencoded-key",
        (
            "test_every_key_and_channel_has_exactly_one_owner",
            "test_every_value_names_its_keys_owner_alone",
        ),
    ),
    (
        "key_space_test.py",
        "stream-run",
        ("test_every_stream_entry_is_of_one_owner",),
    ),
    (
        "key_space_test.py",
        "transcript-before-commit",
        ("test_failed_commit_leaves_nothing_in_a_cache",),
    ),
)


@pytest.mark.parametrize(
    ("suite", "defect", "expected"), SEEDED, ids=[defect for _, defect, _ in SEEDED]
)
def test_suite_goes_red(tmp_path: Path, suite: str, defect: str, expected: tuple[str, ...]) -> None:
    """Every test that is meant for a defect fails with it, and by a finding."""
    only = " or ".join(sorted({name.partition("[")[0] for name in expected}))
    result = run_suite(FOLDER / suite, tmp_path, defect=defect, only=only)

    assert frozenset() == result.broken, result.output
    assert [] == [name for name in expected if name not in result.failed], result.output
