"""Users and keys of one run, on a Redis that somebody else runs."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Sequence
from typing import Any, Final, NoReturn, Self

import redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError
from redis.retry import Retry

from tools.datastores.addresses import REDIS_VARIABLE, RedisAddress
from tools.datastores.errors import (
    LeftOverError,
    NotOursError,
    ServerRefusedError,
    ServerUnreachableError,
    ServerUnsuitableError,
)
from tools.datastores.names import Names
from tools.datastores.passwords import acl_hash, new_password
from tools.datastores.valkey import ValkeyUser, checked_rules
from tools.processes import SupervisedProcess

SERVER: Final = "Redis"
OLDEST_VERSION: Final = (7, 0)
_ANSWER_SECONDS: Final = 5.0
_BATCH: Final = 1000
_NAMED: Final = re.compile(r"wt-([0-9a-f]{8})[-:]")
_LAST_WORDS_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.05
# What a run does as the server's administrator, tried without being done.
_NEEDED: Final = (
    ("acl", "deluser", "wt-00000000-x"),
    ("client", "list"),
    ("client", "kill", "user", "wt-00000000-x"),
    ("info",),
    ("scan", "0"),
    ("unlink", "wt-00000000:x"),
    ("psubscribe", "wt-00000000:*"),
    ("xread", "streams", "wt-00000000:x", "0"),
)


class ExternalRedis:
    """The surface of `ValkeyServer`, for one run: users' names are those that services know.

    On leaving, the run's users and keys are gone. What an earlier run left that was killed is
    removed at the start. A run is alive while a connection is called by its name, or logged in as
    one of its users.
    """

    def __init__(self, address: RedisAddress, names: Names) -> None:
        self.host = address.host
        self.port = address.port
        self._address = address
        self._names = names
        self._passwords: dict[str, str] = {}
        self._cleanup = contextlib.ExitStack()
        self._admin = self._client()

    def __enter__(self) -> Self:
        try:
            self._cleanup.callback(self._admin.close)
            self._check_server()
            presence = self._client(single_connection_client=True)
            self._cleanup.callback(presence.close)
            presence.ping()
            for run in sorted(self._runs() - {self._names.run}):
                if self._abandoned(run):
                    with contextlib.suppress(LeftOverError):
                        self._remove(Names(run))
            self._cleanup.callback(self._remove, self._names)
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._cleanup.close()

    @property
    def admin(self) -> redis.Redis:
        """A client with every right."""
        return self._admin

    @property
    def admin_url(self) -> str:
        """The URL of the user with every right; connections by it are called by the run's name."""
        address = self._address
        return address.url(address.user, address.password, self._names.label)

    @property
    def process(self) -> SupervisedProcess:
        """Raises NotOursError: nobody here started it."""
        self._refuse()

    def add_user(self, name: str, rules: Sequence[str]) -> ValkeyUser:
        """A user with a new password who may do exactly what the rules say; see `ValkeyServer`."""
        user = ValkeyUser(self._names.redis_user(name), new_password())
        described = checked_rules(name, rules)
        password = acl_hash(user.password)
        self._command("ACL", "SETUSER", user.name, "reset", "on", password, *described)
        self._passwords[name] = user.password
        return user

    def url(self, user: str, database: int | None = None) -> str:
        """What ``redis.from_url`` takes. Raises KeyError for an unknown user."""
        del database  # it is always 0
        if user not in self._passwords:
            message = f"there is no user {user!r}; there are {sorted(self._passwords)}"
            raise KeyError(message)
        return self._address.url(self._names.redis_user(user), self._passwords[user])

    def restart(self) -> None:
        """Raises NotOursError."""
        self._refuse()

    def kill(self) -> None:
        """Raises NotOursError."""
        self._refuse()

    def strangers(self) -> list[str]:
        """See `servers.Redis`. Whoever comes by `admin_url` is no stranger."""
        own = f"{self._names.redis_user('')}"
        return [
            client["user"]
            for client in self._clients()
            if client["name"] != self._names.label
            and not client["user"].startswith(own)
            and not set(client["flags"]) & set("MS")  # links of replicas
        ]

    def _check_server(self) -> None:
        try:
            facts: Any = self._admin.info()
            me = str(self._command("ACL", "WHOAMI"), "utf-8")
            for command in _NEEDED:
                answer = self._command("ACL", "DRYRUN", me, *command)
                if answer != b"OK":
                    raise _no_right(" ".join(command))
        except AuthenticationError:
            raise ServerRefusedError(
                SERVER,
                expected=f"that the user and password of {REDIS_VARIABLE} are let in",
                came="a wrong user or password",
                remedy="look at the variable",
            ) from None
        except NoPermissionError:
            raise _no_right("info, acl") from None
        except redis.ResponseError:  # ACL or DRYRUN is unknown: the version will tell
            facts = self._admin.info("server")
        except (redis.RedisError, OSError) as error:
            raise ServerUnreachableError(
                SERVER,
                expected=f"an answer within {_ANSWER_SECONDS:.0f} s",
                came=type(error).__name__,
                remedy=f"look whether the host and port of {REDIS_VARIABLE} are right",
            ) from None
        version = str(facts["redis_version"])
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_VERSION:
            raise ServerUnsuitableError(
                SERVER,
                expected="version 7.0 or newer, whose rules can be by key and command",
                came=f"version {version}",
                remedy="use a newer server, or Valkey",
            )
        if int(facts.get("cluster_enabled", 0)) or facts.get("role") != "master":
            raise ServerUnsuitableError(
                SERVER,
                expected="a single server that can be written to",
                came="a cluster's node or a replica",
                remedy=f"name another one in {REDIS_VARIABLE}",
            )

    def _abandoned(self, run: str) -> bool:
        names = Names(run)
        clients = self._clients()
        if any(client["name"] == names.label for client in clients):
            return False
        limit = time.monotonic() + _LAST_WORDS_SECONDS
        while any(client["user"].startswith(names.redis_user("")) for client in self._clients()):
            if time.monotonic() > limit:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def _remove(self, names: Names) -> None:
        """Removes a run's users, who might write again, then its keys; the users' names go last."""
        users = [user for user in self._all_users() if user.startswith(names.redis_user(""))]
        for user in users:
            self._command("ACL", "SETUSER", user, "off")
            self._command("CLIENT", "KILL", "USER", user)
        keys = self._keys(names)
        for start in range(0, len(keys), _BATCH):
            self._command("UNLINK", *keys[start : start + _BATCH])
        if users:
            self._command("ACL", "DELUSER", *users)
        left = [key.decode(errors="replace") for key in self._keys(names)]
        left += [user for user in self._all_users() if user.startswith(names.redis_user(""))]
        if left:
            raise LeftOverError(SERVER, names.run, ", ".join(left[:10]))

    def _keys(self, names: Names) -> list[bytes]:
        return list(self._admin.scan_iter(match=names.redis_pattern, count=_BATCH))

    def _runs(self) -> set[str]:
        """The names of all runs that have users, or keys, which a restart may leave alone."""
        keys = self._admin.scan_iter(match="wt-*:*", count=_BATCH)
        named = [*self._all_users(), *(key.decode(errors="replace") for key in keys)]
        return {found[1] for name in named if (found := _NAMED.match(name))}

    def _all_users(self) -> list[str]:
        users: Any = self._command("ACL", "USERS")
        return [user.decode() for user in users]

    def _clients(self) -> list[dict[str, str]]:
        clients: Any = self._admin.client_list()
        return list(clients)

    def _command(self, *command: str | bytes) -> Any:
        return self._admin.execute_command(*command)  # type: ignore[no-untyped-call]

    def _client(self, *, single_connection_client: bool = False) -> redis.Redis:
        return redis.Redis(
            host=self._address.host,
            port=self._address.port,
            username=self._address.user,
            password=self._address.password or None,
            client_name=self._names.label,
            socket_timeout=_ANSWER_SECONDS,
            socket_connect_timeout=_ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 1),
            single_connection_client=single_connection_client,
        )

    def _refuse(self) -> NoReturn:
        raise NotOursError(SERVER)


def _no_right(command: str) -> ServerRefusedError:
    return ServerRefusedError(
        SERVER,
        expected=f"a user with the right to: {command}",
        came="a refusal",
        remedy=f"name one with `~* &* +@all` in {REDIS_VARIABLE}; a run makes users and removes"
        " them, and looks at its keys",
    )
