from pathlib import Path

import pytest
from redis.asyncio import Redis

from tools.datastores import Datastores, PreparedClusterError
from tools.datastores.tests.connections import connected
from tools.processes import ProcessSpecification, Supervisor


async def test_both_serve(cluster: Path) -> None:
    """One block, and both answer; they are processes of one supervisor."""
    with Datastores(cluster) as datastores:
        async with connected(datastores.postgres.dsn("alpha", "alpha_service")) as connection:
            assert 1 == await connection.fetchval("SELECT 1")
        async with Redis.from_url(datastores.valkey.admin_url) as client:
            await client.set("key", "value")
            assert b"value" == await client.get("key")

        assert {"postgres", "valkey"} == set(datastores.supervisor.processes)
        assert {"postgres", "valkey"} == {
            record.name for record in datastores.supervisor.startup_records
        }


def test_services_may_depend_on_them(tmp_path: Path) -> None:
    """In a given supervisor other processes name them as dependencies, and know their ports."""
    with Supervisor(tmp_path) as supervisor, Datastores(supervisor=supervisor) as datastores:
        supervisor.start(
            ProcessSpecification(
                name="service",
                argv=["/bin/sh", "-c", """echo '{"ready": true}' "$PORT"; exec sleep 600"""],
                env=lambda ready: {"PORT": str(ready["postgres"]["port"])},
                ready=lambda process: {} if process.log_tail() else None,
                depends_on=["postgres", "valkey"],
            )
        )

        assert supervisor["service"].log_tail().endswith(f" {datastores.postgres.port}")
        supervisor.remove("service")


def test_failure_of_one_stops_the_other(tmp_path: Path) -> None:
    """No half of a pair is left running."""
    with Supervisor(tmp_path) as supervisor:
        datastores = Datastores(tmp_path / "missing.tar", supervisor=supervisor)
        with pytest.raises(PreparedClusterError, match=r"missing\.tar"):
            datastores.start()

        assert {} == supervisor.processes
