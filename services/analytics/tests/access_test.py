"""What analytics' Redis user may do, by the rules that the service declares."""

from __future__ import annotations

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError

from tools.datastores import ValkeyServer


@pytest.mark.parametrize(
    "command",
    [
        "SET wt:stream:usage x",
        "DEL wt:stream:usage",
        "XADD wt:stream:usage * field value",
        "XTRIM wt:stream:usage:dead MAXLEN 0",
        "XREADGROUP GROUP analytics analytics STREAMS wt:stream:usage:dead >",
        "DEL wt:stream:usage:stored",
        "GET wt:backend:key",
    ],
)
def test_analytics_takes_from_the_stream_and_adds_beside_it(
    redis_url: str, valkey: ValkeyServer, command: str
) -> None:
    """It can neither forge entries nor remove dead letters."""
    valkey.admin.xadd("wt:stream:usage", {"field": "value"})
    with Redis.from_url(redis_url) as redis, pytest.raises(NoPermissionError):
        redis.execute_command(*command.split())
    valkey.admin.delete("wt:stream:usage")
