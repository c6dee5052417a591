from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.datastores import PostgresServer, ValkeyServer, build_cluster
from tools.datastores.tests.migrations import migration


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared cluster with the services ``alpha``, which has a relay, and ``beta``."""
    folder = tmp_path_factory.mktemp("cluster")
    archive = folder / "cluster.tar"
    services = [migration(folder, "alpha", roles=("alpha_relay",)), migration(folder, "beta")]
    build_cluster(archive, services, log_directory=folder / "logs")
    return archive


@pytest.fixture(scope="session")
def postgres(cluster: Path) -> Iterator[PostgresServer]:
    """A server on the prepared cluster, for tests that leave it as it was."""
    with PostgresServer.from_prepared(cluster) as server:
        yield server


@pytest.fixture(scope="session")
def valkey() -> Iterator[ValkeyServer]:
    """A Valkey for tests that leave it as it was."""
    with ValkeyServer() as server:
        yield server
