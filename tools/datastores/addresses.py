"""Where servers are that somebody else runs, as two variables say it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import SplitResult, quote, unquote, urlsplit

from tools.datastores.errors import ServerAddressError

POSTGRES_VARIABLE: Final = "WATERTIGHT_POSTGRES_URL"
REDIS_VARIABLE: Final = "WATERTIGHT_REDIS_URL"
_POSTGRES_PORT: Final = 5432
_REDIS_PORT: Final = 6379


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresAddress:
    """A server, and as whom to administrate it: a superuser, over TCP."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    """Where the superuser connects to make others; nothing is written in it."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `postgresql://user:password@host:port/database`.

        Raises:
            ServerAddressError: it is something else; nothing of it is quoted.
        """
        parts = _split(POSTGRES_VARIABLE, text, "postgresql")
        if not parts.username:
            raise ServerAddressError(POSTGRES_VARIABLE, "a superuser's name, got none")
        return cls(
            host=parts.hostname or "",
            port=parts.port or _POSTGRES_PORT,
            user=unquote(parts.username),
            password=unquote(parts.password or ""),
            database=unquote(parts.path.lstrip("/")) or "postgres",
        )

    def dsn(self, database: str, user: str, password: str) -> str:
        """What ``asyncpg.connect`` takes."""
        credentials = f"{quote(user, safe='')}:{quote(password, safe='')}"
        return f"postgresql://{credentials}@{_bracketed(self.host)}:{self.port}/{quote(database)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """A server, and as whom to administrate it: a user with every right."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `redis://user:password@host:port/0`; without a user, the one called `default`.

        Another database than 0 is refused: services may not select one.

        Raises:
            ServerAddressError: it is something else; nothing of it is quoted.
        """
        parts = _split(REDIS_VARIABLE, text, "redis")
        if parts.path not in {"", "/", "/0"}:
            raise ServerAddressError(REDIS_VARIABLE, "database 0, the one that services may use")
        return cls(
            host=parts.hostname or "",
            port=parts.port or _REDIS_PORT,
            user=unquote(parts.username or "") or "default",
            password=unquote(parts.password or ""),
        )

    def url(self, user: str, password: str, client_name: str = "") -> str:
        """What ``redis.from_url`` takes."""
        credentials = f"{quote(user, safe='')}:{quote(password, safe='')}"
        named = f"?client_name={quote(client_name, safe='')}" if client_name else ""
        host = _bracketed(self.host)
        return f"redis://{credentials}@{host}:{self.port}/0{named}"


@dataclass(frozen=True, slots=True)
class ExternalServers:
    """Both servers of a system."""

    postgres: PostgresAddress
    redis: RedisAddress


def external_servers(environ: Mapping[str, str] = os.environ) -> ExternalServers | None:
    """The servers that the two variables name; None where neither is set.

    Raises:
        ServerAddressError: one is set without the other, or cannot be read.
    """
    texts = {name: environ.get(name, "") for name in (POSTGRES_VARIABLE, REDIS_VARIABLE)}
    if not any(texts.values()):
        return None
    for name, text in texts.items():
        if not text:
            raise ServerAddressError(name, "a URL, since the other variable is set; got none")
    return ExternalServers(
        PostgresAddress.parse(texts[POSTGRES_VARIABLE]), RedisAddress.parse(texts[REDIS_VARIABLE])
    )


def _split(variable: str, text: str, scheme: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:  # which quotes a piece of the URL
        raise ServerAddressError(variable, f"a URL {scheme}://…, got none") from None
    if parts.scheme != scheme or not parts.hostname:
        raise ServerAddressError(variable, f"{scheme}://user:password@host:port/database")
    if parts.query or parts.fragment:
        expected = "no parameters after the database: TLS and sockets are not supported"
        raise ServerAddressError(variable, expected)
    return parts


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
