"""Servers that somebody else runs, for tests: an administrator's URL of each, and what is there."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
import redis

from tools.datastores import Datastores, ExternalServers, external_servers
from tools.datastores.addresses import POSTGRES_VARIABLE, REDIS_VARIABLE
from tools.datastores.errors import AdministrationError
from tools.datastores.external_administration import ExternalAdministration
from tools.datastores.ownership import private_folder
from tools.datastores.passwords import new_password, scram_verifier
from tools.processes import (
    ProcessSpecification,
    Ready,
    SupervisedProcess,
    Supervisor,
    WorkingFolder,
    reserve_port,
    unprivileged_user,
)

ADMINISTRATOR: Final = "somebody"
DEBIAN_POSTGRES: Final = Path("/usr/lib/postgresql/15/bin")
DEBIAN_REDIS: Final = Path("/usr/bin/redis-server")
_LIMIT_SECONDS: Final = 60.0
# What a run could leave: databases, roles with their rights, settings and comments.
_CATALOGUE: Final = """
select d::text as line from (
    select 'database', datname, datdba::regrole, datacl, datistemplate from pg_database
) d
union all select r::text from (
    select 'role', rolname, rolsuper, rolcanlogin, rolcreatedb, rolbypassrls from pg_roles
) r
union all select s::text from (select 'setting', * from pg_db_role_setting) s
union all select m::text from (select 'member', roleid, member from pg_auth_members) m
union all select e::text from (select 'extension', extname from pg_extension) e
order by 1
"""


@dataclass(frozen=True)
class Somebody:
    """Two servers, and their administrators' URLs."""

    postgres_url: str = field(repr=False)
    redis_url: str = field(repr=False)

    @property
    def variables(self) -> dict[str, str]:
        """What names them to a run."""
        return {POSTGRES_VARIABLE: self.postgres_url, REDIS_VARIABLE: self.redis_url}

    @property
    def servers(self) -> ExternalServers:
        """The same, read."""
        servers = external_servers(self.variables)
        assert servers is not None
        return servers

    @property
    def postgres(self) -> ExternalAdministration:
        """SQL as their administrator."""
        return ExternalAdministration(self.servers.postgres)

    def catalogue(self) -> str:
        """Databases, roles, settings, ACL users and keys, as text; equal where nothing is left."""
        lines = [str(row["line"]) for row in self.postgres.fetch(_CATALOGUE)]
        with redis.Redis.from_url(self.redis_url) as client:
            users: Any = client.execute_command("ACL", "LIST")
            lines += sorted(user.decode() for user in users)
            lines += sorted(key.decode(errors="replace") for key in client.scan_iter())
            lines.append(str(client.info("keyspace")))
        return "\n".join(lines)

    def of_runs(self) -> list[str]:
        """What of the catalogue carries a run's name."""
        named = ("wt_", "wt-")
        return [line for line in self.catalogue().splitlines() if any(n in line for n in named)]


@contextmanager
def embedded_somebody(**settings: str) -> Iterator[Somebody]:
    """The embedded servers, with an administrator who comes over TCP; something is there already.

    Args:
        settings: PostgreSQL's own, which have the last word.
    """
    password = new_password()
    with Datastores(postgres_settings=settings) as theirs:
        theirs.postgres.admin.execute(
            f"CREATE ROLE {ADMINISTRATOR} SUPERUSER LOGIN PASSWORD '{scram_verifier(password)}'",
            "CREATE ROLE wt_other",
            "CREATE DATABASE wt_other",
        )
        theirs.valkey.admin.set("wt:backend:other", "theirs")
        theirs.valkey.admin.set("wt-other:key", "theirs")
        theirs.valkey.admin.close()  # or it would be a stranger to every run
        port = theirs.postgres.port
        yield Somebody(
            f"postgresql://{ADMINISTRATOR}:{password}@127.0.0.1:{port}/postgres",
            theirs.valkey.admin_url,
        )


def require_debian() -> None:
    """Raises RuntimeError unless Debian's servers are installed: a test of them has no other."""
    missing = [str(p) for p in (DEBIAN_POSTGRES / "postgres", DEBIAN_REDIS) if not p.exists()]
    if missing:
        message = (
            f"{', '.join(missing)} is not there: apt-get install postgresql-15 redis-server,"
            " or leave this target out, as //... does"
        )
        raise RuntimeError(message)


@contextmanager
def debian_somebody() -> Iterator[Somebody]:
    """Debian's PostgreSQL 15 and Redis 7.0, with their packages' programs and nothing else."""
    require_debian()
    password = new_password()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(WorkingFolder.create("debian")).path
        supervisor = stack.enter_context(Supervisor())
        supervisor.adopt(folder)
        postgres_port = stack.enter_context(reserve_port()).port
        redis_port = stack.enter_context(reserve_port()).port
        address = f"postgresql://{ADMINISTRATOR}:{password}@127.0.0.1:{postgres_port}/postgres"
        theirs = Somebody(address, f"redis://:{password}@127.0.0.1:{redis_port}/0")
        data = _initialised(folder, password, supervisor)
        supervisor.start(
            _postgres(data, postgres_port, theirs), _redis(folder, redis_port, password, theirs)
        )
        yield theirs
        supervisor.stop()


def _initialised(folder: Path, password: str, supervisor: Supervisor) -> Path:
    user = unprivileged_user()
    home = private_folder(folder / "postgres", user)
    given = home / "password"
    given.write_text(password)
    if user is not None:
        shutil.chown(given, user)
    arguments = ["--pgdata", str(home / "data"), "--username", ADMINISTRATOR, "--no-sync"]
    arguments += ["--auth=scram-sha-256", f"--pwfile={given}", "--encoding=UTF8", "--locale=C"]
    supervisor.run(
        ProcessSpecification(
            name="initdb", argv=[DEBIAN_POSTGRES / "initdb", *arguments], user=user
        ),
        _LIMIT_SECONDS,
    )
    return home / "data"


def _postgres(data: Path, port: int, theirs: Somebody) -> ProcessSpecification:
    settings = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "shared_preload_libraries": "pg_stat_statements",
        "fsync": "off",
        "dynamic_shared_memory_type": "mmap",
    }
    arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def answers() -> bool:
        theirs.postgres.fetch("select 1")
        return True

    return ProcessSpecification(
        name="postgresql-15",
        argv=[DEBIAN_POSTGRES / "postgres", "-D", str(data), "-p", str(port), *arguments],
        user=unprivileged_user(),
        ready=_once(answers, port),
    )


def _redis(folder: Path, port: int, password: str, theirs: Somebody) -> ProcessSpecification:
    def answers() -> bool:
        with redis.Redis.from_url(theirs.redis_url) as client:
            return bool(client.ping())

    options = ["--port", str(port), "--bind", "127.0.0.1", "--requirepass", password]
    return ProcessSpecification(
        name="redis-7",
        argv=[DEBIAN_REDIS, *options, "--save", "", "--dir", "/"],
        user=unprivileged_user(),
        working_directory=folder,
        ready=_once(answers, port),
    )


def _once(answers: Callable[[], bool], port: int) -> Callable[[SupervisedProcess], Ready | None]:
    def ready(process: SupervisedProcess) -> Ready | None:
        del process
        try:
            answers()
        except (AdministrationError, redis.RedisError, asyncpg.PostgresError, OSError):
            return None
        return {"port": port}

    return ready


def with_variables(theirs: Somebody) -> Mapping[str, str]:
    """This process's environment, with their servers named in it."""
    return {**os.environ, **theirs.variables}
