"""Brings analytics' database to the newest revision. `DATABASE_URL` is its owner's."""

from __future__ import annotations

from pathlib import Path

from services.runtime.migrations import run_migrations

if __name__ == "__main__":
    run_migrations(Path(__file__).parent / "migrations")
