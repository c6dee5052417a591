"""Starts a service with one of its pieces replaced."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

_EX_USAGE: Final = os.EX_USAGE


def launch(service: str, main: Callable[[], None]) -> None:
    """Replaces the piece that the program's one argument names, then runs the service.

    The argument is the name of a module in this service's folder here, with hyphens; its `install`
    replaces the piece. Exits with 64 when there is none of that name.
    """
    names = sorted(
        path.stem.replace("_", "-") for path in Path(__file__).with_name(service).glob("*.py")
    )
    arguments = sys.argv[1:]
    if len(arguments) != 1 or arguments[0] not in names:
        sys.stderr.write(f"{sys.argv[0]}: expected one of {', '.join(names)}; got {arguments}\n")
        sys.exit(_EX_USAGE)
    del sys.argv[1:]
    module = arguments[0].replace("-", "_")
    importlib.import_module(f"integration.leaks.{service}.{module}").install()
    main()
