"""What machine an audit runs on, for people who read its report elsewhere."""

import os
import platform
from pathlib import Path


def machine_facts() -> dict[str, str]:
    """Give facts without names: nothing that would identify the machine or its owner."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "processor": _line_of(Path("/proc/cpuinfo"), "model name") or "unknown",
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": _memory(),
        "python": platform.python_version(),
    }


def _memory() -> str:
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return f"{pages * page_bytes / 2**30:.1f} GiB"


def _line_of(path: Path, name: str) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    found = (line.partition(":")[2].strip() for line in lines if line.startswith(name))
    return next(found, "")
