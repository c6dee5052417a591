"""Analytics with one of its pieces replaced: `analytics_with NAME`."""

from integration.leaks.launching import launch
from services.analytics.main import main

if __name__ == "__main__":
    launch("analytics", main)
