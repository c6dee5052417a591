"""A port for debugging is open on every address of the machine."""

from __future__ import annotations

import socket

_open: list[socket.socket] = []


def install() -> None:
    """Listens besides, and answers nobody."""
    _open.append(socket.create_server(("0.0.0.0", 0)))
