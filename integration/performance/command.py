"""The command line that all benchmarks share."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, NoReturn

from rich.console import Console

from integration.performance.comparison import MINIMUM_ROUNDS, Comparison
from integration.performance.machine import measured_on
from integration.performance.presentation import show, write

_MAXIMUM_ROUNDS: Final = 100

Benchmark = Callable[[int], Awaitable[Sequence[Comparison]]]
"""Measures in so many rounds."""


class _Parser(argparse.ArgumentParser):
    """Leaves with 64 where argparse would with 2, which Bazel uses itself."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"{self.prog}: {message}\n")
        sys.exit(os.EX_USAGE)


def _rounds(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if not MINIMUM_ROUNDS <= number <= _MAXIMUM_ROUNDS:
        raise argparse.ArgumentTypeError(
            f"expected a number from {MINIMUM_ROUNDS} to {_MAXIMUM_ROUNDS}, got {text!r}"
        )
    return number


def main(name: str, description: str, benchmark: Benchmark, arguments: Sequence[str]) -> int:
    """Runs a benchmark, prints its comparisons, and writes them where the command was typed."""
    parser = _Parser(prog=name, description=description)
    parser.add_argument(
        "--rounds", type=_rounds, default=MINIMUM_ROUNDS + 2, help="how often (default: 7)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("benchmark-report"), help="a folder, for JSON and SVG"
    )
    options = parser.parse_args(arguments)
    folder = Path(os.environ.get("BUILD_WORKING_DIRECTORY", ".")) / options.output
    machine = measured_on()
    console = Console()
    for comparison in asyncio.run(_measured(benchmark, options.rounds)):
        show(comparison, machine, console)
        figures, plot = write(comparison, machine, folder)
        console.print(f"written: {figures}, {plot}\n", soft_wrap=True)
    return 0


async def _measured(benchmark: Benchmark, rounds: int) -> Sequence[Comparison]:
    return await benchmark(rounds)
