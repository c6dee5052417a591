"""Both datastores of a system, started at the same time."""

import contextlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from tools.datastores.names import Names
from tools.datastores.postgres import PostgresServer
from tools.datastores.valkey import ValkeyServer
from tools.processes import Supervisor


class Datastores:
    """A Postgres and a Valkey, as processes ``postgres`` and ``valkey`` of one supervisor.

    With `cluster` Postgres starts on a copy of that prepared cluster, else empty. A given
    `supervisor` is used and not ended; else there is one of their own, in `supervisor`. Of
    Postgres' settings `postgres_settings` have the last word.
    """

    def __init__(
        self,
        cluster: Path | None = None,
        *,
        durable: bool = False,
        supervisor: Supervisor | None = None,
        log_directory: Path | None = None,
        postgres_settings: Mapping[str, str] | None = None,
    ) -> None:
        self.names = Names()
        self._given_supervisor = supervisor
        self._cluster = cluster
        self._durable = durable
        self._log_directory = log_directory
        self._postgres_settings = postgres_settings or {}
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts both and returns when both can be used. When one fails the other is stopped."""
        self.supervisor = self._given_supervisor or self._cleanup.enter_context(
            Supervisor(self._log_directory)
        )
        self.postgres = PostgresServer(
            self._cluster,
            durable=self._durable,
            supervisor=self.supervisor,
            settings=self._postgres_settings,
        )
        self.valkey = ValkeyServer(durable=self._durable, supervisor=self.supervisor)
        try:
            with ThreadPoolExecutor(2) as threads:
                starts = [threads.submit(each.start) for each in (self.postgres, self.valkey)]
            self._cleanup.callback(self.postgres.stop)
            self._cleanup.callback(self.valkey.stop)
            for start in starts:
                start.result()
        except BaseException:
            self._cleanup.close()
            raise

    def stop(self) -> None:
        """Stops both and removes their data. Raises ProcessDiedError when one had died."""
        self._cleanup.close()
