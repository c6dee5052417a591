"""Shows what tests may rely on: Bazel's sandbox, without network, without root.

Where user namespaces are missing, Bazel falls back to a sandbox of links only: shared loopback,
outer user. Then there is nothing to show but that tests see declared files alone.
"""

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


def network_complaints() -> list[str]:
    """What of the outer network is within reach."""
    found = []
    interfaces = [name for _, name in socket.if_nameindex() if name != "lo"]
    if interfaces:
        found.append(f"network interfaces beside the loopback: {', '.join(interfaces)}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        code = probe.connect_ex(ELSEWHERE)
    if code != errno.ENETUNREACH:
        found.append(f"a route to {ELSEWHERE[0]} (expected ENETUNREACH, got {code})")
    return found


def complaints(folder: str) -> list[str]:
    """What of the sandbox's promises does not hold."""
    kind = strategy(folder)
    if kind is None:
        return [f"this test runs outside a sandbox, in {folder}"]
    found = []
    if pathlib.Path("WORKSPACE").exists():
        found.append("a file that nobody declared is there: WORKSPACE")
    if kind == "linux-sandbox":
        found += network_complaints()
        if os.getuid() == 0:
            found.append("the user is root: --sandbox_fake_username is off")
    return found


def main() -> int:
    """Prints the complaints; 1 when there are some."""
    folder = str(pathlib.Path.cwd())
    found = complaints(folder)
    print(*found, sep="\n")
    print(f"sandbox: {strategy(folder)}, uid {os.getuid()}, {len(found)} complaints")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
