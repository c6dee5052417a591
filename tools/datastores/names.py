"""What databases, roles and keys of one system are called on their servers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Names:
    """Names on servers that belong to one system alone, or, with a run, to everybody.

    Args:
        run: what tells this run's databases, roles, users and keys from all others' on servers that
            somebody else runs; empty on servers of the system's own.
    """

    run: str = ""

    def database(self, service: str) -> str:
        """The database of a service (or a copy of it)."""
        return f"{self._prefix}{service}"

    def role(self, role: str) -> str:
        """The role on the server of one that a service knows as `backend_service`, for instance."""
        return f"{self._prefix}{role}"

    @property
    def redis_namespace(self) -> str:
        """What every key, channel and stream begins with, before a colon."""
        return f"wt-{self.run}" if self.run else "wt"

    @property
    def _prefix(self) -> str:
        return f"wt_{self.run}_" if self.run else ""
