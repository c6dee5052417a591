"""An embedded Valkey server, which speaks Redis' protocol."""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tools.datastores.errors import AclRuleError
from tools.datastores.listening import start_on_reserved_port
from tools.datastores.ownership import private_file, private_folder
from tools.datastores.passwords import acl_hash, new_password
from tools.datastores.programs import valkey_program
from tools.processes import (
    ProcessSpecification,
    Ready,
    SupervisedProcess,
    Supervisor,
    WorkingFolder,
    unprivileged_user,
)

_ADMIN = "admin"
_ANSWER_LIMIT_SECONDS = 5.0
_PROBE_LIMIT_SECONDS = 0.3
# A single command, perhaps with a subcommand; keys by pattern, perhaps for one direction; channels.
_EXACT_RULE = re.compile(
    r"[+-][a-z][a-z0-9.-]*(\|[a-z-]+)?"
    r"|(%(R|W|RW))?~(?!\*+$)[^\s()]+"
    r"|&(?!\*+$)[^\s()]+"
    r"|-@all|resetkeys|resetchannels"
)
# Rules for further commands, on keys of their own.
_SELECTOR = re.compile(r"\(([^()]+)\)")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,47}")


@dataclass(frozen=True)
class ValkeyUser:
    """A user of the server: who may do exactly what its rules say."""

    name: str
    password: str


def checked_rules(name: str, rules: Sequence[str]) -> list[str]:
    """The rules of a service's user, if they are exact and the name may be one's.

    Raises:
        AclRuleError: a rule grants a category, all keys, all channels or a password.
        ValueError: the name is the administrator's, or none.
    """
    if not _NAME.fullmatch(name) or name in {_ADMIN, "default"}:
        message = f"{name!r} is no name for a service's user"
        raise ValueError(message)
    for rule in rules:
        selector = _SELECTOR.fullmatch(rule)
        for part in (rule,) if selector is None else selector[1].split(" "):
            if not _EXACT_RULE.fullmatch(part):
                raise AclRuleError(name, rule)
    return list(rules)


class ValkeyServer:
    """One server with its own folder, port and users.

    Use it as a context manager, or call `start` and `stop`. It listens on 127.0.0.1; the user
    ``default`` is off; a user for each service is made with `add_user`. Port and users stay over
    restarts; data does with `durable` only, and then every acknowledged write does.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        *,
        durable: bool = False,
        supervisor: Supervisor | None = None,
        log_directory: Path | None = None,
        name: str = "valkey",
    ) -> None:
        self.name = name
        self._durable = durable
        self._given_supervisor = supervisor
        self._log_directory = log_directory
        self._user = unprivileged_user()
        self._cleanup = contextlib.ExitStack()
        self._passwords = {_ADMIN: new_password()}
        self._supervisor: Supervisor | None = None
        self._port = 0
        self._admin: redis.Redis | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts the server. Raises what can go wrong, and cleans up."""
        if self._supervisor is not None:
            message = f"server {self.name!r} has been started already"
            raise RuntimeError(message)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stops the server and removes its data. Raises ProcessDiedError when it had died."""
        try:
            self._cleanup.close()
        finally:
            self._supervisor = None
            self._admin = None

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1."""
        self._require_started()
        return self._port

    @property
    def process(self) -> SupervisedProcess:
        """The process, to pause, resume, kill, start and restart it."""
        return self._require_started()[self.name]

    @property
    def admin(self) -> redis.Redis:
        """A client with every right, for tests to look and to set up."""
        self._require_started()
        if self._admin is None:
            self._admin = self._client(_ANSWER_LIMIT_SECONDS)
            self._cleanup.callback(self._admin.close)
        return self._admin

    @property
    def admin_url(self) -> str:
        """The URL of the user with every right."""
        return self.url(_ADMIN)

    def add_user(self, name: str, rules: Sequence[str]) -> ValkeyUser:
        """A user with a new password who may do exactly what the rules say, and nothing before.

        Rules are single commands (``+get``), key patterns (``%RW~…``) and channels (``&…``), and
        selectors (``(%W~… +xadd)``): further commands, each on the keys of its selector alone.
        Categories, all keys and all channels are refused with AclRuleError: ``+@all -@dangerous``
        with a key pattern still shows others' keys by SCAN and others' channels by PUBSUB.
        An existing user is replaced.
        """
        user = ValkeyUser(name, new_password())
        exact = checked_rules(name, rules)
        self._administrate("ACL", "SETUSER", name, "reset", "on", acl_hash(user.password), *exact)
        self._administrate("ACL", "SAVE")  # to the file, for the next start
        self._passwords[name] = user.password
        return user

    def url(self, user: str, database: int = 0) -> str:
        """What ``redis.from_url`` takes. Raises KeyError for an unknown user."""
        if user not in self._passwords:
            message = f"there is no user {user!r}; there are {sorted(self._passwords)}"
            raise KeyError(message)
        password = quote(self._passwords[user], safe="")
        return f"redis://{user}:{password}@{self.host}:{self.port}/{database}"

    def strangers(self) -> Sequence[str]:
        """Nobody: the passwords are known here alone."""
        return ()

    def restart(self) -> None:
        """Stops the server in order, and starts it on the same port with the same users."""
        self.process.restart()

    def kill(self) -> None:
        """Ends the server as a crash would; ``process.start()`` brings it back."""
        self.process.kill()

    def _administrate(self, *command: str) -> None:
        self.admin.execute_command(*command)  # type: ignore[no-untyped-call]

    def _require_started(self) -> Supervisor:
        if self._supervisor is None:
            message = f"server {self.name!r} is not running: call start() first"
            raise RuntimeError(message)
        return self._supervisor

    def _start(self) -> None:
        folder = self._cleanup.enter_context(WorkingFolder.create(self.name))
        data = private_folder(folder.path / "data", self._user)
        administrator = f"user {_ADMIN} on {acl_hash(self._passwords[_ADMIN])} ~* &* +@all"
        users = f"user default off resetchannels -@all\n{administrator}\n"
        private_file(data / "users.acl", users, self._user)
        supervisor = self._given_supervisor or self._cleanup.enter_context(
            Supervisor(self._log_directory)
        )
        supervisor.adopt(folder.path)
        reservation = start_on_reserved_port(
            supervisor, lambda port: self._specification(port, data)
        )
        self._cleanup.enter_context(reservation)
        self._cleanup.callback(self._end, supervisor)
        self._supervisor = supervisor

    def _specification(self, port: int, data: Path) -> ProcessSpecification:
        self._port = port
        options = {
            "port": str(port),
            "bind": self.host,
            "dir": str(data),
            "aclfile": str(data / "users.acl"),
            "save": "",
            "appendonly": "yes" if self._durable else "no",
            "appendfsync": "always",
            "loglevel": "notice",
            # Signals are looked at once in a cycle: a stop takes 10 ms, not 100.
            "hz": "100",
        }
        arguments = [part for key, value in options.items() for part in (f"--{key}", value)]
        return ProcessSpecification(
            name=self.name,
            argv=[valkey_program(), *arguments],
            user=self._user,
            working_directory=data,
            ready=self._ready,
        )

    def _ready(self, process: SupervisedProcess) -> Ready | None:
        del process
        # As the administrator: a stranger on this port would not know the password.
        client = self._client(_PROBE_LIMIT_SECONDS)
        try:
            client.ping()
        except (redis.RedisError, OSError):
            return None
        else:
            return {"port": self._port}
        finally:
            client.close()

    def _client(self, limit_seconds: float) -> redis.Redis:
        return redis.Redis(
            host=self.host,
            port=self._port,
            username=_ADMIN,
            password=self._passwords[_ADMIN],
            socket_timeout=limit_seconds,
            socket_connect_timeout=limit_seconds,
            retry=Retry(NoBackoff(), 0),
        )

    def _end(self, supervisor: Supervisor) -> None:
        try:
            supervisor[self.name].check()
        finally:
            supervisor.remove(self.name)
