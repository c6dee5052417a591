"""Analytics with one seeded leak: `analytics_with NAME`."""

from integration.leaks import aggregate_query, stream_consumer
from integration.leaks.launching import launch
from services.analytics.main import NAME, AnalyticsProgram
from services.analytics.settings import AnalyticsSettings
from services.runtime.lifecycle import run

if __name__ == "__main__":
    launch(
        {
            "stream-consumer": stream_consumer.install,
            "aggregate-query": aggregate_query.install,
        },
        lambda: run(NAME, AnalyticsSettings, AnalyticsProgram),
    )
