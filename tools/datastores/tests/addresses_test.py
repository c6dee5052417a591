from __future__ import annotations

import pytest

from tools.datastores import ServerAddressError, external_servers
from tools.datastores.addresses import POSTGRES_VARIABLE, REDIS_VARIABLE

_POSTGRES = "postgresql://ann:p%40ss@db.example:5433/main"
_REDIS = "redis://ops:p%3Ass@[::1]:6380/0"


def test_both_variables_name_the_servers() -> None:
    """What stands in the URLs is read, decoded, and written again for other users."""
    servers = external_servers({POSTGRES_VARIABLE: _POSTGRES, REDIS_VARIABLE: _REDIS})

    assert servers is not None
    postgres, redis = servers.postgres, servers.redis
    assert ("db.example", 5433, "ann", "p@ss", "main") == (
        postgres.host,
        postgres.port,
        postgres.user,
        postgres.password,
        postgres.database,
    )
    assert _POSTGRES == postgres.dsn("main", "ann", "p@ss")
    assert ("::1", 6380, "ops", "p:ss") == (redis.host, redis.port, redis.user, redis.password)
    assert f"{_REDIS}?client_name=me" == redis.url("ops", "p:ss", "me")


def test_what_may_be_left_out_is_usual() -> None:
    """Ports, databases and Redis' user are the usual ones unless said otherwise."""
    variables = {POSTGRES_VARIABLE: "postgresql://ann@db", REDIS_VARIABLE: "redis://cache"}
    servers = external_servers(variables)

    assert servers is not None
    assert (5432, "postgres") == (servers.postgres.port, servers.postgres.database)
    assert (6379, "default") == (servers.redis.port, servers.redis.user)


@pytest.mark.parametrize("empty", [{}, {POSTGRES_VARIABLE: "", REDIS_VARIABLE: ""}])
def test_without_variables_there_are_none(empty: dict[str, str]) -> None:
    """Then the servers are embedded ones."""
    assert external_servers(empty) is None


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        (POSTGRES_VARIABLE, ""),
        (REDIS_VARIABLE, ""),
        (POSTGRES_VARIABLE, "mysql://ann:secret-4711@db"),
        (POSTGRES_VARIABLE, "postgresql://db/4711"),
        (POSTGRES_VARIABLE, "postgresql://ann:secret-4711@db:port/x"),
        (POSTGRES_VARIABLE, "postgresql://ann:secret-4711@[db/x"),
        (POSTGRES_VARIABLE, "postgresql:///x?host=/secret-4711"),
        (POSTGRES_VARIABLE, "postgresql://ann:secret-4711@db/x?sslmode=require"),
        (REDIS_VARIABLE, "rediss://:secret-4711@cache"),
        (REDIS_VARIABLE, "redis://:secret-4711@cache/zero"),
        (REDIS_VARIABLE, "redis://:secret-4711@cache/1"),
        (REDIS_VARIABLE, "unix:///secret-4711"),
    ],
)
def test_unreadable_variable_is_named_and_not_quoted(variable: str, text: str) -> None:
    """One alone, or one that says something else, is told by its name, without what it holds."""
    variables = {POSTGRES_VARIABLE: _POSTGRES, REDIS_VARIABLE: _REDIS, variable: text}
    with pytest.raises(ServerAddressError, match=f"^{variable}: expected ") as raised:
        external_servers(variables)

    assert "4711" not in f"{raised.value} {raised.value!r}"
    assert raised.value.__cause__ is None


def test_addresses_do_not_show_passwords() -> None:
    """Neither a server's representation nor both servers' holds one."""
    servers = external_servers({POSTGRES_VARIABLE: _POSTGRES, REDIS_VARIABLE: _REDIS})

    assert "p@ss" not in repr(servers)
    assert "p:ss" not in repr(servers)
