"""Starting a server that must be told its port."""

from collections.abc import Callable

from tools.datastores.errors import PortsExhaustedError
from tools.processes import (
    PortReservation,
    ProcessDiedError,
    ProcessSpecification,
    Supervisor,
    reserve_port,
)

_ATTEMPTS = 5
_TAKEN = "Address already in use"


def start_on_reserved_port(
    supervisor: Supervisor, specify: Callable[[int], ProcessSpecification]
) -> PortReservation:
    """Starts what `specify` gives for a port, and keeps that port reserved.

    A reservation keeps our own servers and the kernel away from a port, and nobody else: when the
    server finds it taken, another one is tried. Raises PortsExhaustedError after five, and what
    `Supervisor.start` raises.
    """
    tried = []
    for _ in range(_ATTEMPTS):
        reservation = reserve_port()
        try:
            supervisor.start(specify(reservation.port))
        except BaseException as error:
            reservation.close()
            if not isinstance(error, ProcessDiedError) or _TAKEN not in error.log_tail:
                raise
            tried.append(reservation.port)
        else:
            return reservation
    message = f"ports {tried} were all taken by somebody else while a server started"
    raise PortsExhaustedError(message)
