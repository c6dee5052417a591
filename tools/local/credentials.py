"""Keys and secrets, made fresh for each start and kept in memory."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from joserfc.jwk import OKPKey

_SECRET_BYTES = 48


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the services of one system know of each other, and what its operator knows.

    `signing_key` is auth's private JWK in JSON (RFC 8037: OKP, Ed25519); `workload_secrets` are
    what services prove themselves to auth with; `operator_secret` makes tenants.
    """

    signing_key: str = field(repr=False)
    workload_secrets: Mapping[str, str] = field(repr=False)
    operator_secret: str = field(repr=False)

    @classmethod
    def generate(cls, workloads: Sequence[str]) -> Self:
        """Fresh ones, a secret for each workload."""
        kid = secrets.token_hex(8)
        key = OKPKey.generate_key("Ed25519", {"kid": kid, "use": "sig", "alg": "Ed25519"})
        return cls(
            signing_key=json.dumps(key.as_dict(private=True)),
            workload_secrets={name: secrets.token_urlsafe(_SECRET_BYTES) for name in workloads},
            operator_secret=secrets.token_urlsafe(_SECRET_BYTES),
        )

    def words(self) -> dict[str, str]:
        """What they are called in a service's `local.json`."""
        return {
            "signing_key": self.signing_key,
            "operator_secret": self.operator_secret,
            "workload_secrets": json.dumps(dict(self.workload_secrets)),
            **{f"{name}_workload_secret": secret for name, secret in self.workload_secrets.items()},
        }
