"""How the embedded PostgreSQL is configured, and why."""

from collections.abc import Mapping
from pathlib import Path

_COMMON: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track": "all",
    # Its file would carry one run's statements into an archive or the next start.
    "pg_stat_statements.save": "off",
    "max_connections": "100",
    "max_wal_senders": "0",
    "shared_buffers": "64MB",
    # Segments in the data directory, not in /dev/shm, where a killed server would leave them.
    "dynamic_shared_memory_type": "mmap",
    "io_method": "sync",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # The log holds no content. Errors quote values and statements their literals: `log` leaves out
    # errors (they reach the client), and keeps the server's own messages and fatal ones.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}

_LEAN: Mapping[str, str] = {
    "fsync": "off",
    # A commit is with the kernel before it is acknowledged, so that a killed server loses none.
    "synchronous_commit": "on",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_size": "256MB",  # the data directory may be in memory
    "autovacuum": "off",
}

_DURABLE: Mapping[str, str] = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_level": "replica",
    "max_wal_size": "1GB",
    # After a crash the data directory is synchronised as a whole, not file by file.
    "recovery_init_sync_method": "syncfs",
    "autovacuum": "on",
}

# The superuser comes by the socket alone, whose folder nobody else can enter. `all` does not match
# replication connections: those match no line and are refused.
RUNNING_ACCESS = """\
local all postgres trust
local all all reject
host all postgres 127.0.0.1/32 reject
host all all 127.0.0.1/32 scram-sha-256
"""

# While databases are prepared nothing listens on TCP, and owners migrate by the socket.
PREPARATION_ACCESS = """\
local all all trust
"""


def server_settings(*, durable: bool, changes: Mapping[str, str]) -> dict[str, str]:
    """All settings: lean ones survive no power cut and are fast, durable ones are production's."""
    return {**_COMMON, **(_DURABLE if durable else _LEAN), **changes}


def as_arguments(
    settings: Mapping[str, str], *, data: Path, access: Path, sockets: Path
) -> list[str]:
    """The command line of ``postgres`` that sets them."""
    placed = {"hba_file": str(access), "unix_socket_directories": str(sockets), **settings}
    arguments = ["-D", str(data)]
    for name, value in placed.items():
        arguments += ["-c", f"{name}={value}"]
    return arguments
