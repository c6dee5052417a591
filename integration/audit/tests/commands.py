"""The command line of an audit of the board, for tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from integration.audit import Adapter, Launch, SeededLeak, main
from integration.audit.tests.boards import FAULTS, Board

LEAKS = tuple(SeededLeak(name, description) for name, description in FAULTS.items())


@asynccontextmanager
async def open_board(launch: Launch) -> AsyncIterator[Adapter]:
    """Give the board with the leak that was asked for."""
    yield Board(launch.leak or "")


def audit(*arguments: str) -> int:
    """Run the command."""
    return main(arguments, program="audit", open_adapter=open_board, leaks=LEAKS)
