import socket
import subprocess
import sys
from pathlib import Path

import pytest

import tools.processes
from tools.processes import PortReservation, ports, reserve_port


def test_reservations_never_coincide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reservations that are held at the same time have different ports, down to the last one."""
    monkeypatch.setattr(ports, "_choice", lambda: range(15000, 15004))
    held: list[PortReservation] = []

    def reserve_all() -> None:
        while True:
            held.append(reserve_port())

    with pytest.raises(OSError, match="no free port between 15000 and 15003"):
        reserve_all()

    assert 1 <= len(held) <= 4
    assert len(held) == len({reservation.port for reservation in held})
    for reservation in held:
        reservation.close()


def test_closed_reservation_is_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port comes back when its reservation is closed."""
    with reserve_port() as first:
        monkeypatch.setattr(ports, "_choice", lambda: range(first.port, first.port + 1))
        with pytest.raises(OSError, match="no free port"):
            reserve_port()

    with reserve_port() as second:
        assert first.port == second.port


def test_reservation_holds_against_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process of ours cannot reserve what this one holds."""
    script = (
        "from tools.processes import ports; import sys; port = int(sys.argv[1])\n"
        "ports._choice = lambda: range(port, port + 1)\n"
        "try: ports.reserve_port(); print('got it')\n"
        "except OSError: print('refused')\n"
    )
    workspace = Path(tools.processes.__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", str(workspace))
    with reserve_port() as reservation:
        command = [sys.executable, "-c", script, str(reservation.port)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)

    assert "refused\n" == answer.stdout


def test_port_in_use_is_not_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that somebody listens on is passed over, though nobody reserved it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(ports, "_choice", lambda: range(port, port + 1))

        with pytest.raises(OSError, match="no free port"):
            reserve_port()


def test_server_can_bind_what_is_reserved() -> None:
    """The reservation binds nothing at the port itself, so the server can, and again after it."""
    with reserve_port() as reservation:
        for _ in range(2):
            socket.create_server(("127.0.0.1", reservation.port)).close()


def test_ports_lie_below_the_ephemeral_range() -> None:
    """The kernel gives no client socket a port that could be reserved."""
    begin = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])

    assert max(ports._choice()) < begin
