"""The environment variables that each service is started with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from integration.environment.credentials import Credentials

PREFIX: Final = "WATERTIGHT_"

# One password hash takes 87 ms and 64 MiB as it is deployed, which a system with made-up passwords
# spends on nothing.
_CHEAP_PASSWORDS: Final = {"PASSWORD_MEMORY_KIB": "1024", "PASSWORD_ITERATIONS": "1"}


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """Where one process of a service listens, on 127.0.0.1."""

    http_port: int
    grpc_port: int

    @property
    def url(self) -> str:
        """The base URL of its HTTP interface."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def grpc_target(self) -> str:
        """`host:port` of its gRPC interface."""
        return f"127.0.0.1:{self.grpc_port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What one process of a service finds around it.

    `postgres_urls` has an entry for each login role of the service's own database, by the role's
    last word; `redis_url` is empty for a service that uses no Redis.
    """

    address: ServiceAddress
    postgres_urls: Mapping[str, str]
    redis_url: str
    auth: ServiceAddress
    analytics: ServiceAddress
    otlp_endpoint: str = ""
    more: Mapping[str, str] = field(default_factory=dict)


def variables(service: str, around: Surroundings, credentials: Credentials) -> dict[str, str]:
    """The complete settings of one process, as environment variables."""
    settings = {
        "HOST": "127.0.0.1",
        "HTTP_PORT": str(around.address.http_port),
        "GRPC_PORT": str(around.address.grpc_port),
        "OTLP_ENDPOINT": around.otlp_endpoint,
        **{_postgres_name(role): url for role, url in around.postgres_urls.items()},
    }
    if around.redis_url:
        settings["REDIS_URL"] = around.redis_url
    if service == "auth":
        settings |= {
            "SIGNING_KEY": credentials.signing_key,
            "WORKLOAD_SECRETS": json.dumps(dict(credentials.workload_secrets)),
            "OPERATOR_SECRET": credentials.operator_secret,
            **_CHEAP_PASSWORDS,
        }
    else:
        settings |= {
            "AUTH_GRPC_TARGET": around.auth.grpc_target,
            "WORKLOAD_SECRET": credentials.workload_secrets[service],
        }
    if service == "backend":
        settings["ANALYTICS_GRPC_TARGET"] = around.analytics.grpc_target
    return {f"{PREFIX}{name}": value for name, value in {**settings, **around.more}.items()}


def _postgres_name(role: str) -> str:
    return "POSTGRES_URL" if role == "service" else f"{role.upper()}_POSTGRES_URL"
