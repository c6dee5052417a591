"""What databases, roles and keys of one system are called on their servers."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Final, Self

_RUN: Final = re.compile(r"[0-9a-f]{8}")
_RUN_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class Names:
    """Names on servers that belong to one system alone, or, with a run, to everybody.

    Args:
        run: what tells this run's databases, roles, users and keys from all others' on servers that
            somebody else runs: eight hexadecimal digits; empty on servers of the system's own.
    """

    run: str = ""

    def __post_init__(self) -> None:
        if self.run and not _RUN.fullmatch(self.run):
            message = f"expected a run's name of eight hexadecimal digits, got {self.run!r}"
            raise ValueError(message)

    @classmethod
    def fresh(cls) -> Self:
        """Names of a run that nobody else has."""
        return cls(secrets.token_hex(_RUN_BYTES))

    def database(self, service: str) -> str:
        """The database of a service (or a copy of it)."""
        return f"{self.prefix}{service}"

    def role(self, role: str) -> str:
        """The role on the server of one that a service knows as `backend_service`, for instance."""
        return f"{self.prefix}{role}"

    def logical(self, name: str) -> str | None:
        """What the system itself calls a role or a database; None for one of somebody else's."""
        return name.removeprefix(self.prefix) if name.startswith(self.prefix) else None

    def redis_user(self, service: str) -> str:
        """The ACL user of a service."""
        return f"wt-{self.run}-{service}" if self.run else service

    @property
    def redis_namespace(self) -> str:
        """What every key, channel and stream begins with, before a colon."""
        return f"wt-{self.run}" if self.run else "wt"

    @property
    def redis_pattern(self) -> str:
        """Matches the keys and channels to look at: on servers of the system's own, all of them."""
        return f"{self.redis_namespace}:*" if self.run else "*"

    @property
    def label(self) -> str:
        """What connections of the run are called, so that others see that it lives."""
        return f"watertight-{self.run}"

    @property
    def prefix(self) -> str:
        """What every database and role begins with; empty on servers of the system's own."""
        return f"wt_{self.run}_" if self.run else ""
