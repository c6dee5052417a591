"""`tools/bazel run //integration:audit`: our own system under audit."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Final

from integration.audit import Adapter, Launch, SeededLeak, main
from integration.environment import Environment, Programs
from integration.leaks.catalogue import LEAKS, leak_named
from integration.systems.watertight.adapter import open_watertight

# An audit may give a user more threads than anybody watches at a time.
_CONNECTIONS_FOR_EACH_THREAD: Final = 4
_SPARE_CONNECTIONS: Final = 50


@contextlib.asynccontextmanager
async def _open_system(launch: Launch) -> AsyncIterator[Adapter]:
    """Our system, with one leak in it where that is asked for."""
    programs = Programs.built()
    connections = str(_CONNECTIONS_FOR_EACH_THREAD * launch.plan.threads + _SPARE_CONNECTIONS)
    leak = None if launch.leak is None else leak_named(launch.leak)
    if leak is not None and leak.service in programs.services:
        programs = programs.replacing(leak.service, leak.command)
    async with (
        Environment(
            programs=programs,
            log_directory=launch.directory / "logs",
            settings={"backend": {"WEBSOCKET_CONNECTIONS_PER_USER": connections}},
            postgres_settings=None if leak is None else leak.postgres_settings,
        ) as environment,
        open_watertight(environment) as adapter,
    ):
        yield adapter


if __name__ == "__main__":
    sys.exit(
        main(
            sys.argv[1:],
            program="audit",
            typed="tools/bazel run //integration:audit --",
            open_adapter=_open_system,
            leaks=[SeededLeak(leak.name, leak.description) for leak in LEAKS],
        )
    )
