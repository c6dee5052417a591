"""Starts a service with one of its pieces replaced."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Final

_EX_USAGE: Final = os.EX_USAGE


def launch(leaks: Mapping[str, Callable[[], None]], main: Callable[[], None]) -> None:
    """Replaces the piece that the program's one argument names, then runs the service.

    Exits with 64 when it names none.
    """
    arguments = sys.argv[1:]
    if len(arguments) != 1 or arguments[0] not in leaks:
        sys.stderr.write(f"{sys.argv[0]}: expected one of {', '.join(leaks)}; got {arguments}\n")
        sys.exit(_EX_USAGE)
    del sys.argv[1:]
    leaks[arguments[0]]()
    main()
