"""Ports that nobody races for, for servers that cannot choose one themselves.

Most servers bind port 0 and say what they got. Postgres and Valkey must be told, and a restarted
server must come back where its clients look for it. "Bind, look, close" leaves a gap in which the
kernel may hand the port to anybody.
"""

import random
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL_EPHEMERAL_BEGIN = 32768
_LOWEST = 10240
_LEAST_CHOICE = 1024


class PortReservation:
    """A TCP port on 127.0.0.1 that is kept from every other reservation until it is closed.

    It is a name in the abstract unix namespace, which belongs to the network namespace just as
    ports do, and vanishes with its owner. Nothing is bound to the port itself.
    """

    def __init__(self, port: int, claim: socket.socket) -> None:
        self.port = port
        self._claim = claim

    def close(self) -> None:
        """Gives the port up."""
        self._claim.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def reserve_port() -> PortReservation:
    """Reserves a free port below the kernel's ephemeral range, so that no client socket takes it.

    A stranger may still bind it by its number: a server that finds its port taken asks for another.
    Raises OSError when every port is taken.
    """
    ports = list(_choice())
    random.shuffle(ports)
    for port in ports:
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            claim.bind(f"\0watertight-port-{port}")
            with socket.socket() as trial:
                trial.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
        else:
            return PortReservation(port, claim)
    message = f"no free port between {min(ports)} and {max(ports)}"
    raise OSError(message)


def _choice() -> range:
    try:
        begin = int(_EPHEMERAL_RANGE.read_text().split()[0])
    except OSError:
        begin = _USUAL_EPHEMERAL_BEGIN
    if begin - _LOWEST < _LEAST_CHOICE:  # an unusual machine: rather an ephemeral port than none
        begin = _USUAL_EPHEMERAL_BEGIN
    return range(_LOWEST, begin)
