"""`tools/bazel run //integration:up`: the whole system in the foreground, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from integration.clients.auth import AuthClient
from integration.environment import Environment
from tools.datastores import DatastoreError
from tools.processes import ProcessError

_TENANT: Final = "acme"
_USERS: Final = ("ann", "bob")
_WATCH_SECONDS: Final = 0.5
# Whoever tries things by hand should not have to log in every five minutes.
_SETTINGS: Final = {"auth": {"ACCESS_TOKEN_SECONDS": "3600"}}
_REPLICAS_LIMIT: Final = 8


class _Parser(argparse.ArgumentParser):
    """Leaves with 64 where argparse would with 2, which Bazel uses itself."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"{self.prog}: {message}\n")
        sys.exit(os.EX_USAGE)


def _replicas(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= _REPLICAS_LIMIT:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to {_REPLICAS_LIMIT}")
    return number


def _parse(arguments: Sequence[str]) -> int:
    parser = _Parser(prog="up", description="Runs the whole system until Ctrl-C.")
    parser.add_argument(
        "--replicas", type=_replicas, default=2, help="of the backend, 1 to 8 (default: 2)"
    )
    # Python 3.11's argparse takes it for the end of the options, and the value for an empty list.
    if any(argument.endswith("=--") for argument in arguments):
        parser.error("expected a value after '=', got '--'")
    options = parser.parse_args(arguments)
    replicas: int = options.replicas
    return replicas


async def _tokens(environment: Environment) -> dict[str, str]:
    """The access tokens of a fresh tenant's users, by real log-in."""
    passwords = {name: secrets.token_urlsafe(12) for name in ("administrator", *_USERS)}
    async with AuthClient(environment.auth_url) as auth:
        await auth.create_tenant(
            environment.credentials.operator_secret,
            _TENANT,
            login_name="administrator",
            password=passwords["administrator"],
        )
        head = await auth.log_in(_TENANT, "administrator", passwords["administrator"])
        tokens = {}
        for name in _USERS:
            await auth.create_user(head.access_token, login_name=name, password=passwords[name])
            session = await auth.log_in(_TENANT, name, passwords[name])
            tokens[name] = session.access_token
    return tokens


def _introduction(environment: Environment, tokens: dict[str, str]) -> str:
    backends = "".join(
        f"  {name}  {url}  (gRPC {target}, /docs)\n"
        for name, url, target in zip(
            environment.replica_names,
            environment.backend_urls,
            environment.backend_grpc_targets,
            strict=True,
        )
    )
    shown = "".join(f"  {name}: {token}\n" for name, token in tokens.items())
    first = next(iter(tokens.values()))
    return (
        f"{environment.supervisor.startup_table()}\n"
        f"  auth       {environment.auth_url}\n"
        f"  analytics  {environment.analytics_url}\n"
        f"{backends}"
        f"Tokens of two users of the tenant {_TENANT}, for an hour:\n{shown}"
        "Try:\n"
        f"  curl -H 'Authorization: Bearer {first}' -H 'Content-Type: application/json' "
        f'-d \'{{"title": "first"}}\' {environment.backend_url}/threads\n'
        f"  WebSocket: {environment.backend_url.replace('http', 'ws', 1)}/ws, first frame "
        '{"type": "authenticate", "token": ...}\n'
        "Ctrl-C stops everything.\n"
    )


async def _run(replicas: int) -> int:
    asked_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked_to_end.set)
    try:
        async with Environment(replicas=replicas, settings=_SETTINGS) as environment:
            sys.stdout.write(_introduction(environment, await _tokens(environment)))
            sys.stdout.flush()
            while not asked_to_end.is_set():
                environment.supervisor.check()
                await _wait(asked_to_end, _WATCH_SECONDS)
    except (ProcessError, DatastoreError) as error:
        sys.stderr.write(f"up: {error}\n")
        return os.EX_UNAVAILABLE
    sys.stdout.write("stopped.\n")
    return 0


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


if __name__ == "__main__":
    sys.exit(asyncio.run(_run(_parse(sys.argv[1:]))))
