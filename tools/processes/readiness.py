"""Ready probes: how a supervisor learns that a process can serve.

A probe is any callable that takes the running process and returns what it learned (ports, for
instance) once the process is healthy, and None before. It is asked again and again, so it must
return within about a second and must not wait by itself.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.processes.supervised import SupervisedProcess

Ready = Mapping[str, object]
ReadyProbe = Callable[["SupervisedProcess"], "Ready | None"]

_ANSWER_LIMIT_SECONDS = 1.0


@dataclass(frozen=True)
class ReadyLine:
    """Ready once the process has written one JSON line with ``"ready": true`` to its log.

    The line's other fields (ports, usually) become the process's ``ready`` mapping. With
    `health_path`, the process must besides answer 200 to a GET of it on 127.0.0.1, at the port
    that the line has under `port_key`; so a later ``wait_healthy`` asks the living process and is
    not content with an old line.
    """

    health_path: str | None = None
    port_key: str = "http_port"

    def __call__(self, process: SupervisedProcess) -> Ready | None:
        """The ready line; None before it, and while the health path gives another answer."""
        line = process.ready_line()
        if line is None or self.health_path is None:
            return line
        port = line.get(self.port_key)
        if not isinstance(port, int):
            return None
        return line if _answers(port, self.health_path) else None


@dataclass(frozen=True)
class TcpReady:
    """Ready once something accepts connections on 127.0.0.1 at `port`."""

    port: int

    def __call__(self, process: SupervisedProcess) -> Ready | None:
        """The port; None while nothing answers there."""
        del process
        try:
            socket.create_connection(("127.0.0.1", self.port), _ANSWER_LIMIT_SECONDS).close()
        except OSError:
            return None
        return {"port": self.port}


@dataclass(frozen=True)
class HttpReady:
    """Ready once a GET of `path` on 127.0.0.1 at `port` is answered with 200."""

    port: int
    path: str = "/health"

    def __call__(self, process: SupervisedProcess) -> Ready | None:
        """The port; None while nothing answers there."""
        del process
        return {"http_port": self.port} if _answers(self.port, self.path) else None


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_LIMIT_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
