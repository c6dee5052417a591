"""`tools/bazel run //integration/performance:isolated_database`: a database for one test."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Sequence
from typing import Final

from pytest_postgresql.janitor import DatabaseJanitor

from integration.environment import Programs
from integration.performance.command import main
from integration.performance.comparison import Comparison, in_turns
from tools.datastores import PostgresServer
from tools.datastores.service_databases import template_of

_PEER: Final = "pytest-postgresql"
_OURS: Final = "isolated database"
_SERVICE: Final = "backend"
_EACH_ROUND: Final = 5


async def benchmark(rounds: int) -> Sequence[Comparison]:
    """A copy of the backend's migrated database, made and dropped, on one server."""
    with PostgresServer.from_prepared(Programs.built().cluster) as server:
        numbers = itertools.count(1)

        def ours() -> float:
            started = time.perf_counter()
            for _ in range(_EACH_ROUND):
                name = f"copy_{next(numbers)}"
                server.create_database(name, template=_SERVICE)
                server.drop_database(name)
            return (time.perf_counter() - started) / _EACH_ROUND

        def peers() -> float:
            started = time.perf_counter()
            for _ in range(_EACH_ROUND):
                with DatabaseJanitor(
                    user="postgres",
                    host=str(server.admin.socket_folder),
                    port=server.port,
                    dbname=f"copy_{next(numbers)}",
                    template_dbname=template_of(_SERVICE),
                ):
                    pass
            return (time.perf_counter() - started) / _EACH_ROUND

        samples = await in_turns(
            {
                _PEER: lambda: asyncio.to_thread(peers),
                _OURS: lambda: asyncio.to_thread(ours),
            },
            rounds,
        )
    return [
        Comparison(
            name="isolated-database",
            question="How long does a database for one test take?",
            baseline=_PEER,
            samples=samples,
            notes=(
                f"each round: {_EACH_ROUND} copies of the backend's template, made and dropped",
                f"{_OURS}: its owner, its login roles' right to connect, and nobody else's, too",
            ),
        )
    ]


if __name__ == "__main__":
    sys.exit(
        main(
            "isolated_database", "An isolated database against its peer's.", benchmark, sys.argv[1:]
        )
    )
