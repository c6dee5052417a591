"""What the backend's Redis user may do, by the rules that the service declares."""

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
        "GET wt:stream:usage",
        "GETDEL wt:stream:usage",
        "XREAD STREAMS wt:stream:usage 0",
        "XADD wt:stream:usage:stored * field value",
        "XADD wt:stream:usage:dead * field value",
        "XADD wt:backend:key * field value",
        "DEL wt:stream:usage:stored",
        "GET wt:analytics:key",
    ],
)
def test_backend_adds_to_the_stream_and_does_nothing_else_to_it(
    redis_url: str, valkey: ValkeyServer, command: str
) -> None:
    """What it may do to its own keys it may not do to the stream, whose entries others wait for."""
    valkey.admin.xadd("wt:stream:usage", {"field": "value"})
    with Redis.from_url(redis_url) as redis, pytest.raises(NoPermissionError):
        redis.execute_command(*command.split())
    valkey.admin.delete("wt:stream:usage")


def test_backend_adds_counts_and_reads_confirmations(redis_url: str, valkey: ValkeyServer) -> None:
    """What the relay needs is admitted."""
    with Redis.from_url(redis_url) as redis:
        redis.xadd("wt:stream:usage", {"field": "value"})
        assert 1 == redis.xlen("wt:stream:usage")
        assert not redis.xread({"wt:stream:usage:stored": "$"})
    valkey.admin.delete("wt:stream:usage")
