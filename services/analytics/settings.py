"""Analytics' settings, each from the variable `WATERTIGHT_<FIELD>`."""

from __future__ import annotations

from services.runtime.settings import UserServiceSettings


class AnalyticsSettings(UserServiceSettings):
    """What every service for users reads, and nothing more."""
