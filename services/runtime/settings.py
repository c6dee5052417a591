"""Settings from the environment: validated before anything starts, and told apart when wrong."""

from __future__ import annotations

import os
import re
import sys
from typing import Annotated, Final, Literal, NoReturn, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX: Final = "WATERTIGHT_"
REDIS_NAMESPACE: Final = "wt"
"""What keys, channels and streams begin with, where Redis is the system's own."""
EXIT_CONFIGURATION: Final = os.EX_CONFIG

Port = Annotated[int, Field(ge=0, le=65535)]
Secret = Annotated[SecretStr, Field(min_length=32, max_length=256)]
GrpcTarget = Annotated[str, Field(pattern=r"^[A-Za-z0-9.\-\[\]:]+:[0-9]{1,5}$")]
PostgresUrl = Annotated[SecretStr, Field(min_length=1)]


class ServiceSettings(BaseSettings):
    """What every service reads: one variable `WATERTIGHT_<FIELD>` for each field."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    postgres_url: PostgresUrl
    """`postgresql+asyncpg://…` of the service's own login role."""
    host: str = "127.0.0.1"
    """Where both servers listen: the loopback interface, unless said otherwise."""
    http_port: Port = 0
    """0: the kernel chooses, and the ready line says which."""
    grpc_port: Port = 0
    otlp_endpoint: str = Field(default="", pattern=r"^($|https?://\S+$)")
    """Where spans go, by OTLP over gRPC; empty: nowhere."""
    postgres_pool_size: int = Field(default=5, ge=1, le=100)
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class UserServiceSettings(ServiceSettings):
    """What a service reads that works for users: where auth is, and as whom to speak to it."""

    redis_url: PostgresUrl
    """`redis://…` of the service's own ACL user."""
    redis_namespace: str = Field(default=REDIS_NAMESPACE, pattern=r"^[a-z][a-z0-9-]{0,31}$")
    """What every key, channel and stream begins with; another one for each system on one Redis."""
    auth_grpc_target: GrpcTarget
    """`host:port`."""
    workload_secret: Secret
    """Shared with auth, at least 32 characters."""


S = TypeVar("S", bound=ServiceSettings)


def load_settings(kind: type[S]) -> S:
    """The settings, or the end of the process with code 78 (EX_CONFIG) and a line for each problem.

    A problem's line names the variable and what is expected of it, never the value that it has.
    """
    try:
        return kind()
    except ValidationError as error:
        _exit([_problem(kind, detail) for detail in error.errors(include_input=False)])
    except ValueError as error:  # pydantic-settings: a variable that should hold JSON does not
        _exit([_unreadable(error)])


def _problem(kind: type[ServiceSettings], detail: object) -> str:
    assert isinstance(detail, dict)  # noqa: S101 -- pydantic's ErrorDetails
    location = [str(part) for part in detail["loc"]]
    if not location:
        return f"{kind.__name__}: {detail['msg']}"
    name = PREFIX + location[0].upper()
    where = "".join(f".{part}" for part in location[1:])
    return f"{name}{where}: {'not set' if detail['type'] == 'missing' else detail['msg']}"


def _unreadable(error: ValueError) -> str:
    # Its message is: error parsing value for field "..." from source "..."
    field = re.search(r'field "(\w+)"', str(error))
    return f"{PREFIX}{field[1].upper() if field else '*'}: expected JSON"


def _exit(problems: list[str]) -> NoReturn:
    for problem in problems:
        sys.stderr.write(f"configuration: {problem}\n")
    sys.exit(EXIT_CONFIGURATION)
