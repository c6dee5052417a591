import os
import subprocess
from pathlib import Path

import pytest

AUDIT = Path(os.environ["AUDIT"]).absolute()
LIMIT_SECONDS = 150


@pytest.mark.parametrize("seed", range(1, 21))
def test_clean_system_passes_under_every_seed(seed: int, tmp_path: Path) -> None:
    """Whatever the order of operations, the system as it is gets PASS."""
    finished = subprocess.run(
        [AUDIT, "--seed", str(seed), "--report", str(tmp_path / "report")],
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )

    assert 0 == finished.returncode, finished.stdout + finished.stderr
