"""What the tests do with connections."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection that is closed after the block."""
    connection = await asyncpg.connect(dsn, timeout=10.0, command_timeout=10.0)
    try:
        yield connection
    finally:
        connection.terminate()


def listeners(port: int) -> set[str]:
    """The local addresses, as the kernel writes them, on which somebody listens at a port."""
    found = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else []:
            _, local, _, state = line.split()[:4]
            address, _, hexadecimal = local.partition(":")
            if state == "0A" and int(hexadecimal, 16) == port:
                found.add(address)
    return found


def owners(pid: int) -> set[int]:
    """The user numbers of a process: real, effective, saved, file system."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {int(field) for line in lines if line.startswith("Uid:") for field in line.split()[1:]}
