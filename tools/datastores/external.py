"""Both datastores of a system, on servers that somebody else runs, under one run's name."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Self

from tools.datastores.addresses import ExternalServers
from tools.datastores.external_postgres import ExternalPostgres
from tools.datastores.external_redis import ExternalRedis
from tools.datastores.names import Names
from tools.datastores.preparation import ServiceMigration
from tools.processes import Supervisor


class ExternalDatastores:
    """What `Datastores` is for embedded servers; everything is gone after the `with`.

    Every database, role, ACL user and key carries the run's name, in `names`.

    Args:
        servers: where they are.
        services: whose databases are made, by running their migration programs.
        supervisor: what those programs are processes of.
    """

    def __init__(
        self,
        servers: ExternalServers,
        services: Sequence[ServiceMigration],
        supervisor: Supervisor,
    ) -> None:
        self.names = Names.fresh()
        self.postgres = ExternalPostgres(servers.postgres, self.names, services, supervisor)
        self.valkey = ExternalRedis(servers.redis, self.names)
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        try:
            # The quick one first: what is wrong is told before anything is made.
            self._cleanup.enter_context(self.valkey)
            self._cleanup.enter_context(self.postgres)
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._cleanup.close()
