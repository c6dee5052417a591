"""Shows what tests may rely on: Bazel's sandbox, without network, without root.

Where user namespaces are missing, Bazel falls back to a sandbox of links only: shared loopback,
outer user. Then there is nothing to show but that tests see declared files alone.
"""

import dataclasses
import errno
import itertools
import os
import pathlib
import socket
import sys

# An address that is kept for documentation (RFC 5737), so nobody is asked.
ELSEWHERE = ("192.0.2.1", 9)


def strategy(folder: str) -> str | None:
    """The sandbox's kind, which Bazel puts into the working directory's path."""
    parts = pathlib.PurePath(folder).parts
    kinds = [after for before, after in itertools.pairwise(parts) if before == "sandbox"]
    return kinds[-1] if kinds else None


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What a test finds around it.

    `route` is the error number of connecting a datagram socket to ELSEWHERE; no packet is sent.
    """

    folder: str
    user: int
    interfaces: tuple[str, ...]
    route: int
    workspace_file: bool


def look() -> Surroundings:
    """What is around this process."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        route = probe.connect_ex(ELSEWHERE)
    return Surroundings(
        folder=str(pathlib.Path.cwd()),
        user=os.getuid(),
        interfaces=tuple(name for _, name in socket.if_nameindex()),
        route=route,
        workspace_file=pathlib.Path("WORKSPACE").exists(),
    )


def complaints(around: Surroundings) -> list[str]:
    """What of the sandbox's promises does not hold."""
    kind = strategy(around.folder)
    if kind is None:
        return [f"this test runs outside a sandbox, in {around.folder}"]
    found = []
    if around.workspace_file:
        found.append("a file that nobody declared is there: WORKSPACE")
    if kind != "linux-sandbox":
        return found
    if beside := [name for name in around.interfaces if name != "lo"]:
        found.append(f"network interfaces beside the loopback: {', '.join(beside)}")
    if around.route != errno.ENETUNREACH:
        found.append(f"a route to {ELSEWHERE[0]} (expected ENETUNREACH, got {around.route})")
    if around.user == 0:
        found.append("the user is root: --sandbox_fake_username is off")
    return found


def main() -> int:
    """Prints the complaints; 1 when there are some."""
    around = look()
    found = complaints(around)
    print(*found, sep="\n")
    print(f"sandbox: {strategy(around.folder)}, uid {around.user}, {len(found)} complaints")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
