"""What a process is before it runs, and the order that dependencies impose."""

import os
import pwd
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tools.processes.errors import SpecificationError
from tools.processes.readiness import Ready, ReadyLine, ReadyProbe

EnvironmentSource = Mapping[str, str] | Callable[[Mapping[str, Ready]], Mapping[str, str]]

# All that a process gets without being told: enough to find an interpreter, and UTF-8 everywhere.
BASE_ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LC_ALL": "C.UTF-8",
}


@dataclass(frozen=True, kw_only=True)
class ProcessSpecification:
    """One process: what to run, when it is healthy, how it ends.

    `env` is the whole environment beside `BASE_ENVIRONMENT`: nothing is inherited, so that no
    secret of the caller's reaches a service. It may be a function of what the processes that are
    ready so far said about themselves (the dependencies always among them), because ports are
    known only then.

    `user` switches to another account and works for root only; see `unprivileged_user`.
    `prepare` is called before each launch, restarts included. `abort_signal` is what the launcher
    sends when the supervisor's own process is gone; SIGKILL follows it after half a second.
    """

    name: str
    argv: Sequence[str | os.PathLike[str]]
    env: EnvironmentSource = field(default_factory=dict)
    working_directory: Path | None = None
    user: str | None = None
    ready: ReadyProbe = field(default_factory=ReadyLine)
    depends_on: Sequence[str] = ()
    health_limit_seconds: float = 10.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_limit_seconds: float = 5.0
    abort_signal: signal.Signals = signal.SIGKILL
    prepare: Callable[[], None] | None = None

    def environment(self, ready: Mapping[str, Ready]) -> dict[str, str]:
        """The complete environment, given what the other processes said when they were ready."""
        own = self.env(ready) if callable(self.env) else self.env
        return {**BASE_ENVIRONMENT, **own}


def in_dependency_order(
    specifications: Iterable[ProcessSpecification], *, running: Iterable[str]
) -> list[ProcessSpecification]:
    """The specifications, every one after those it depends on.

    Raises SpecificationError for a name that is taken, a dependency that is neither here nor
    running, and a circle.
    """
    known = set(running)
    by_name: dict[str, ProcessSpecification] = {}
    for specification in specifications:
        if specification.name in by_name or specification.name in known:
            message = f"two processes are called {specification.name!r}"
            raise SpecificationError(message)
        by_name[specification.name] = specification
    for name, specification in by_name.items():
        if unknown := set(specification.depends_on) - known - by_name.keys():
            message = f"process {name!r} depends on {sorted(unknown)}, which nobody starts"
            raise SpecificationError(message)
    graph = {name: set(each.depends_on) & by_name.keys() for name, each in by_name.items()}
    try:
        return [by_name[name] for name in TopologicalSorter(graph).static_order()]
    except CycleError as error:
        message = f"processes depend on each other in a circle: {' -> '.join(error.args[1])}"
        raise SpecificationError(message) from error


def unprivileged_user() -> str | None:
    """The account to drop to: ``nobody`` for root, None for everybody else, who cannot switch.

    In a sandbox whose user is already nobody there is nothing to drop.
    """
    if os.geteuid() != 0:
        return None
    return pwd.getpwnam("nobody").pw_name
