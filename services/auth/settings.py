"""Auth's settings, each from the variable `WATERTIGHT_<FIELD>`."""

from __future__ import annotations

import json
from typing import Annotated

from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from pydantic import Field, SecretStr, field_validator

from services.runtime.settings import PostgresUrl, Secret, ServiceSettings

WorkloadName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]


class AuthSettings(ServiceSettings):
    """What auth reads beside what every service reads."""

    revocations_postgres_url: PostgresUrl
    """Of the role that reads and prunes the revocations, and nothing else."""
    signing_key: SecretStr
    """A private JWK (RFC 7517, RFC 8037): `kty` OKP, `crv` Ed25519, with a `kid`."""
    workload_secrets: dict[WorkloadName, Secret] = Field(min_length=1, max_length=32)
    """The services that may call, each with its secret of at least 32 characters."""
    operator_secret: Secret
    """Who knows it may make tenants."""
    access_token_seconds: int = Field(default=300, ge=5, le=3600)
    refresh_token_seconds: int = Field(default=86_400, ge=10, le=31 * 86_400)
    """How long a session lasts, however often it is refreshed."""
    transaction_token_seconds: int = Field(default=60, ge=5, le=300)
    password_memory_kib: int = Field(default=65_536, ge=8, le=1_048_576)
    password_iterations: int = Field(default=3, ge=1, le=16)

    @field_validator("signing_key")
    @classmethod
    def _check_signing_key(cls, value: SecretStr) -> SecretStr:
        try:
            load_signing_key(value.get_secret_value())
        except (ValueError, JoseError, TypeError, KeyError):
            raise ValueError("expected a private Ed25519 JWK in JSON, with a kid") from None
        return value


def load_signing_key(text: str) -> OKPKey:
    """The private key in a JWK.

    Raises:
        ValueError, JoseError: it is something else.
    """
    value = json.loads(text)
    if not isinstance(value, dict) or not isinstance(value.get("kid"), str) or not value["kid"]:
        raise ValueError("expected a JWK with a kid")
    key = OKPKey.import_key(value)
    if not key.is_private or key.curve_name != "Ed25519":
        raise ValueError("expected a private Ed25519 key")
    return key
