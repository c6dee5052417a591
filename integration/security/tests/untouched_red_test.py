"""That the suite of refused contexts goes red for what it is there to notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration.fixtures.seeding import run_suite

SUITE = Path(__file__).with_name("untouched_test.py")

FAILS = {
    "context-unchecked": {"hop"},
    "entry-unjudged": {"stream"},
    "expired-accepted": {"http_backend", "websocket"},
    "look-before-verify": {"http_auth"},
}


@pytest.mark.parametrize("defect", FAILS)
def test_defect_turns_its_channels_red(defect: str, tmp_path: Path) -> None:
    """Each defect fails the channels that it is on, and breaks none."""
    channels = FAILS[defect]
    only = f"refusals and ({' or '.join(channels)})"
    result = run_suite(SUITE, tmp_path, defect=defect, only=only)
    failed = {f"test_refusals_touch_nothing[{channel}]" for channel in channels}

    assert failed == result.failed, result.output
    assert not result.broken, result.output
