"""A PostgreSQL data directory, and the process that serves it."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.datastores import settings
from tools.datastores.administration import SUPERUSER
from tools.datastores.ownership import private_folder
from tools.datastores.programs import postgres_program
from tools.datastores.shared_memory import clear_after_unclean_end
from tools.processes import (
    ProcessSpecification,
    Ready,
    SupervisedProcess,
    Supervisor,
    unprivileged_user,
)

_INITDB_LIMIT_SECONDS = 60.0
_HEALTH_LIMIT_SECONDS = 30.0
_STOP_LIMIT_SECONDS = 15.0
_STATUS_LINE = 7


@dataclass(frozen=True)
class Cluster:
    """Where one cluster lies: below a working folder, its data and sockets private to its user."""

    folder: Path
    user: str | None

    @classmethod
    def below(cls, folder: Path) -> "Cluster":
        """A cluster below a folder; as root it belongs to an unprivileged user."""
        return cls(folder, unprivileged_user())

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    @property
    def sockets(self) -> Path:
        """The folder of the unix socket, mode 0700."""
        return self.folder / "sockets"

    def initialise(self, supervisor: Supervisor) -> None:
        """Makes an empty cluster in UTF-8, sorted by code points, the same on every machine."""
        private_folder(self.data, self.user)
        arguments = [
            *("--pgdata", str(self.data), "--username", SUPERUSER, "--encoding", "UTF8"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
            # Segments of 1 MiB: a small archive. The access lines are ours, see settings.py.
            *("--wal-segsize=1", "--auth=reject", "--no-sync", "--no-instructions"),
        ]
        initdb = ProcessSpecification(
            name="initdb", argv=[postgres_program("initdb"), *arguments], user=self.user
        )
        supervisor.run(initdb, _INITDB_LIMIT_SECONDS)

    def specification(
        self, name: str, port: int, *, access: str, server_settings: Mapping[str, str]
    ) -> ProcessSpecification:
        """The server's process. `access` is the text of pg_hba.conf."""
        if not self.sockets.is_dir():
            private_folder(self.sockets, self.user)
        access_file = self.folder / "pg_hba.conf"
        access_file.write_text(access)
        access_file.chmod(0o644)
        arguments = settings.as_arguments(
            server_settings, data=self.data, access=access_file, sockets=self.sockets
        )
        return ProcessSpecification(
            name=name,
            argv=[postgres_program("postgres"), "-p", str(port), *arguments],
            user=self.user,
            ready=self._ready,
            prepare=lambda: clear_after_unclean_end(self.data),
            health_limit_seconds=_HEALTH_LIMIT_SECONDS,
            # Fast shutdown: clients are disconnected, the data directory is consistent. SIGTERM
            # would wait for clients for ever.
            stop_signal=signal.SIGINT,
            stop_limit_seconds=_STOP_LIMIT_SECONDS,
            # Immediate shutdown: unlike SIGKILL it removes the server's shared memory.
            abort_signal=signal.SIGQUIT,
        )

    def _ready(self, process: SupervisedProcess) -> Ready | None:
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return None
        if len(lines) <= _STATUS_LINE or lines[0] != str(process.pid):
            return None
        return {"port": int(lines[3])} if lines[_STATUS_LINE].strip() == "ready" else None
