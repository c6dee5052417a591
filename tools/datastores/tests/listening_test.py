import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from tools.datastores import PortsExhaustedError, PostgresServer, ValkeyServer, listening
from tools.processes import PortReservation, reserve_port

_Server = PostgresServer | ValkeyServer


@pytest.fixture
def taken() -> Iterator[PortReservation]:
    """A reservation for a port that a stranger, who reserves nothing, took all the same."""
    with reserve_port() as reservation, socket.create_server(("127.0.0.1", reservation.port)):
        yield reservation


@pytest.mark.parametrize("make", [PostgresServer.empty, ValkeyServer])
def test_taken_port_leads_to_another(
    make: Callable[[], AbstractContextManager[_Server]],
    taken: PortReservation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that finds its port taken starts on the next one."""
    offered = iter([taken, reserve_port()])
    monkeypatch.setattr(listening, "reserve_port", lambda: next(offered))

    with make() as server:
        assert taken.port != server.port
        assert server.process.running


def test_ports_that_are_all_taken_are_an_error(
    taken: PortReservation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is an end to trying."""
    monkeypatch.setattr(listening, "reserve_port", lambda: taken)

    with pytest.raises(PortsExhaustedError, match=rf"\[({taken.port}(, )?){{5}}\]"):
        ValkeyServer().start()
