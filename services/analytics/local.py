"""Analytics on embedded datastores, in the foreground, with auth beside it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from tools.local.foreground import run_locally

_SERVICES: Final = Path(__file__).parents[1]
_NEEDED: Final = (
    "auth",
    "analytics",
)

if __name__ == "__main__":
    folders = [_SERVICES / name for name in _NEEDED]
    sys.exit(run_locally(folders, cluster=_SERVICES / "analytics/cluster.tar"))
