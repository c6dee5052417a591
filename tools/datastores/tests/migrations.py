"""Migration programs for the tests: real ones, in the way that services have them."""

import os
import sys
from pathlib import Path

from tools.datastores import ServiceMigration

_CONNECTED = """\
import asyncio, os, sys
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

async def main():
    engine = create_async_engine(os.environ["DATABASE_URL"])
    async with engine.begin() as connection:
        for statement in {statements!r}:
            rows = await connection.execute(text(statement.format(**os.environ)))
            if rows.returns_rows:
                print(rows.all(), flush=True)
    await engine.dispose()

asyncio.run(main())
"""

NOTES = (
    "SELECT session_user::text, current_user::text, current_database()::text",
    "CREATE TABLE notes (id integer PRIMARY KEY, body text NOT NULL)",
    "GRANT SELECT, INSERT ON notes TO {SERVICE_ROLE}",
)


def migration(
    folder: Path, service: str, *, statements: tuple[str, ...] = NOTES, roles: tuple[str, ...] = ()
) -> ServiceMigration:
    """A service whose migration runs these statements, with the environment's names filled in."""
    return ServiceMigration(
        name=service,
        program=program(folder / f"migrate_{service}", _CONNECTED.format(statements=statements)),
        roles=roles,
    )


def program(path: Path, source: str) -> Path:
    """An executable that runs Python with the packages that this test has."""
    script = path.with_suffix(".py")
    script.write_text(source)
    path.write_text(
        f"#!/bin/sh\nPYTHONPATH='{os.pathsep.join(sys.path)}' exec {sys.executable} {script}\n"
    )
    path.chmod(0o755)
    return path
