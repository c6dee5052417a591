"""protoc from the grpcio-tools wheel.

With --must_fail=FILE it succeeds when protoc refuses its input, and FILE gets what protoc said.
"""

import contextlib
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator, Sequence

from grpc_tools import protoc

OPTION = "--must_fail="


@contextlib.contextmanager
def captured_standard_error(report: pathlib.Path) -> Iterator[None]:
    """Sends what is written to descriptor 2, which is where protoc's C++ writes, to a file."""
    kept = os.dup(2)
    with report.open("wb") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)


def refusal(arguments: Sequence[str], report: pathlib.Path) -> int:
    """Runs protoc and inverts its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [f"{a.split('=')[0]}={folder}" if "_out=" in a else a for a in arguments]
        with captured_standard_error(report):
            code: int = protoc.main(arguments)
    if code == 0:
        print("protoc accepted what it should refuse", file=sys.stderr)
    return 0 if code else 1


def main(arguments: Sequence[str]) -> int:
    """Runs protoc, or shows that it refuses."""
    reports = [argument for argument in arguments if argument.startswith(OPTION)]
    if not reports:
        return int(protoc.main(list(arguments)))
    others = [argument for argument in arguments if argument not in reports]
    return refusal(others, pathlib.Path(reports[0].removeprefix(OPTION)))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
