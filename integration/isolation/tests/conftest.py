"""A running Postgres with every service's database, prepared by Bazel."""

from __future__ import annotations

from tools.datastores.fixtures import datastores, isolated_database, postgres

__all__ = ["datastores", "isolated_database", "postgres"]
