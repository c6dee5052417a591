"""Starting several processes in the order of their dependencies, and ending all of them."""

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from types import TracebackType
from typing import Self

from tools.processes.errors import HealthLimitError, LauncherError, StopLimitError
from tools.processes.folders import WorkingFolder
from tools.processes.launcher_connection import LauncherConnection
from tools.processes.readiness import Ready
from tools.processes.specification import ProcessSpecification, in_dependency_order
from tools.processes.startup import StartupRecord, startup_table, with_critical_path
from tools.processes.supervised import SupervisedProcess, poll_seconds

_LOST_EXIT_CODE = -9


class Supervisor:
    """The processes of one test or program, as a context manager.

    Logs go to `log_directory`, else into the test's outputs, else to a folder that vanishes with
    the supervisor. Leaving the block ends everything, dependents first; if a process had died by
    itself meanwhile, that is raised there at the latest.
    """

    def __init__(self, log_directory: Path | None = None) -> None:
        self._cleanup = contextlib.ExitStack()
        self._changed = threading.Condition()
        self._processes: dict[str, SupervisedProcess] = {}
        self._by_key: dict[int, SupervisedProcess] = {}
        self._keys = itertools.count(1)
        self._starting: set[str] = set()
        self._first_start: float | None = None
        self._records: dict[str, StartupRecord] = {}
        self._lost = False
        self._closed = False
        self.log_directory = log_directory or self._default_log_directory()
        self.log_directory.mkdir(parents=True, exist_ok=True)
        self._launcher = LauncherConnection(self._on_exit, self._on_loss)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.check()
        finally:
            try:
                self.stop()
            except StopLimitError:
                if error is None:
                    raise
            finally:
                self.close()

    def __getitem__(self, name: str) -> SupervisedProcess:
        return self._processes[name]

    @property
    def processes(self) -> Mapping[str, SupervisedProcess]:
        """Every process by its name, running or not, as it is now."""
        return dict(self._processes)  # a copy: other threads may be starting processes

    @property
    def launcher_pid(self) -> int:
        """The process number of the launcher, the parent of all the others."""
        return self._launcher.pid

    def start(self, *specifications: ProcessSpecification) -> None:
        """Starts processes, each as soon as its dependencies are healthy; returns when all are.

        May be called again; later specifications may depend on earlier ones. When one dies or
        stays unhealthy, whatever this call started is killed and forgotten, and the error raised.
        """
        ordered = in_dependency_order(specifications, running=self._processes)
        names = {specification.name for specification in ordered}
        with self._changed:
            self._starting |= names
        try:
            self._start(ordered)
        except BaseException:
            for name in names:
                if process := self._processes.pop(name, None):
                    process.kill()
            raise
        finally:
            with self._changed:
                self._starting -= names

    def run(self, specification: ProcessSpecification, limit_seconds: float) -> None:
        """Runs a program that ends by itself, and waits for it.

        Its ready probe is not asked. Raises ProcessDiedError when its exit code is not 0, and
        TimeoutError after the limit, when it has been killed.
        """
        self._make(specification).run(limit_seconds)

    def adopt(self, folder: Path) -> None:
        """Has a folder removed after all processes have ended, also when the caller is killed."""
        self._launcher.adopt(folder)

    def check(self) -> None:
        """Raises ProcessDiedError when a process ended that nobody stopped or killed.

        Processes that another thread is just starting are that thread's to report.
        """
        self._check(self._processes.keys() - self._starting)

    def wait_for_death(self, limit_seconds: float) -> SupervisedProcess | None:
        """Waits until a process has ended that nobody stopped or killed; None after the limit."""
        with self._changed:
            self._changed.wait_for(lambda: self._dead() is not None, limit_seconds)
            return self._dead()

    def remove(self, name: str) -> None:
        """Stops a process and forgets it, so that its name is free again."""
        process = self._processes[name]
        try:
            process.stop()
        finally:
            del self._processes[name]

    def stop(self) -> None:
        """Stops all processes: dependents before what they depend on, the rest at once.

        Raises the first StopLimitError, after all are gone.
        """
        failures: list[StopLimitError] = []
        for layer in self._layers():
            stopping = [process for process in layer if process.request_stop()]
            for process in stopping:
                try:
                    process.finish_stop()
                except StopLimitError as error:
                    failures.append(error)
        if failures:
            raise failures[0]

    def close(self) -> None:
        """Ends whatever still runs, and the launcher with it. Nothing can be started after it."""
        if not self._closed:
            self._closed = True
            self._launcher.close()
            self._cleanup.close()

    @property
    def startup_records(self) -> Sequence[StartupRecord]:
        """How long each process took to its health, since the first start."""
        with self._changed:
            records = dict(self._records)
        dependencies = {
            name: each.specification.depends_on for name, each in self.processes.items()
        }
        return with_critical_path(records, dependencies)

    def startup_table(self) -> str:
        """The records as a text table; a star marks the critical path."""
        return startup_table(self.startup_records)

    def _start(self, ordered: Sequence[ProcessSpecification]) -> None:
        begin = time.monotonic()
        if self._first_start is None:
            self._first_start = begin
        waiting = list(ordered)
        names = {specification.name for specification in ordered}
        launched: dict[str, float] = {}
        healthy: set[str] = set()
        while healthy != names:
            for specification in list(waiting):
                if set(specification.depends_on) & names <= healthy:
                    waiting.remove(specification)
                    launched[specification.name] = time.monotonic()
                    self._add(specification).launch()
            self._check((self._processes.keys() - self._starting) | launched.keys())
            for name in launched.keys() - healthy:
                if self._became_healthy(self._processes[name], launched[name]):
                    healthy.add(name)
            with self._changed:
                self._changed.wait(poll_seconds(time.monotonic() - begin))

    def _became_healthy(self, process: SupervisedProcess, launched: float) -> bool:
        """Probes once and keeps the time. Raises HealthLimitError when it has run out."""
        assert self._first_start is not None  # noqa: S101 - narrows the type
        if process.probe():
            record = StartupRecord(
                process.name, launched - self._first_start, time.monotonic() - self._first_start
            )
            with self._changed:
                self._records[process.name] = record
            return True
        limit = process.specification.health_limit_seconds
        if time.monotonic() - launched > limit:
            raise HealthLimitError(process.name, limit, process.log_path, process.log_tail())
        return False

    def _check(self, names: AbstractSet[str]) -> None:
        if self._lost and not self._closed:
            message = "the launcher has ended, and every process of this supervisor with it"
            raise LauncherError(message)
        for name, process in self.processes.items():
            if name in names:
                process.check()

    def _add(self, specification: ProcessSpecification) -> SupervisedProcess:
        process = self._make(specification)
        self._processes[specification.name] = process
        return process

    def _make(self, specification: ProcessSpecification) -> SupervisedProcess:
        return SupervisedProcess(
            specification,
            _new_log(self.log_directory, specification.name),
            launcher=self._launcher,
            changed=self._changed,
            others=self._ready,
            new_key=self._new_key,
        )

    def _ready(self) -> dict[str, Ready]:
        return {name: each.ready for name, each in self.processes.items() if each.running}

    def _new_key(self, process: SupervisedProcess) -> int:
        key = next(self._keys)
        self._by_key[key] = process
        return key

    def _on_exit(self, key: int, code: int) -> None:
        if process := self._by_key.pop(key, None):
            process.ended(code)

    def _on_loss(self) -> None:
        self._lost = True
        for process in list(self._by_key.values()):
            process.ended(_LOST_EXIT_CODE)
        self._by_key.clear()

    def _dead(self) -> SupervisedProcess | None:
        return next((each for each in self.processes.values() if each.died), None)

    def _layers(self) -> Iterator[list[SupervisedProcess]]:
        """Processes that nothing depends on any more, then those that this frees, and so on."""
        left = dict(self._processes)
        while left:
            needed = {name for each in left.values() for name in each.specification.depends_on}
            layer = [process for name, process in left.items() if name not in needed]
            yield layer
            for process in layer:
                del left[process.name]

    def _default_log_directory(self) -> Path:
        if outputs := os.environ.get("TEST_UNDECLARED_OUTPUTS_DIR"):
            return Path(outputs, "processes")
        return self._cleanup.enter_context(WorkingFolder.create("logs")).path


def _new_log(directory: Path, name: str) -> Path:
    """A new, empty log file: a second supervisor's process of that name gets a number."""
    for number in itertools.count(1):
        path = directory / (f"{name}.log" if number == 1 else f"{name}-{number}.log")
        with contextlib.suppress(FileExistsError):
            path.touch(exist_ok=False)
            return path
    raise AssertionError
