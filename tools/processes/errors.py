"""What can go wrong with processes.

ProcessError
├── SpecificationError   the specifications contradict each other; nothing was started
├── SpawnError           the program could not be executed at all
├── ProcessDiedError     it ended though nobody asked it to
├── HealthLimitError     it runs, and did not become healthy within its limit
├── StopLimitError       it ignored its stop signal, and was killed
└── LauncherError        the launcher, which holds all the others, is gone
"""

import signal
from pathlib import Path


class ProcessError(Exception):
    """Root of everything that this room raises."""


class SpecificationError(ProcessError):
    """Specifications name an unknown or circular dependency, or one name twice."""


class SpawnError(ProcessError):
    """The program could not be executed: it is missing, not executable, or the user is unknown."""

    def __init__(self, process_name: str, reason: str) -> None:
        super().__init__(process_name, reason)
        self.process_name = process_name
        self.reason = reason

    def __str__(self) -> str:
        return f"process {self.process_name!r} could not be executed: {self.reason}"


class LauncherError(ProcessError):
    """The launcher has ended, and every process of the supervisor with it."""


class _LoggedError(ProcessError):
    """An error whose reason is most likely in the process's last log lines."""

    def __init__(self, process_name: str, log_path: Path, log_tail: str) -> None:
        super().__init__(process_name, log_path, log_tail)
        self.process_name = process_name
        self.log_path = log_path
        self.log_tail = log_tail

    def _with_log(self, sentence: str) -> str:
        lines = self.log_tail or "(it wrote nothing)"
        return f"process {self.process_name!r} {sentence}. Last lines of {self.log_path}:\n{lines}"


class ProcessDiedError(_LoggedError):
    """A process ended that nobody stopped or killed. A negative exit code is a signal's number."""

    def __init__(self, process_name: str, exit_code: int, log_path: Path, log_tail: str) -> None:
        super().__init__(process_name, log_path, log_tail)
        self.exit_code = exit_code

    def __str__(self) -> str:
        return self._with_log(f"ended by itself ({describe_exit(self.exit_code)})")


class HealthLimitError(_LoggedError):
    """A process did not become healthy in time."""

    def __init__(
        self, process_name: str, limit_seconds: float, log_path: Path, log_tail: str
    ) -> None:
        super().__init__(process_name, log_path, log_tail)
        self.limit_seconds = limit_seconds

    def __str__(self) -> str:
        return self._with_log(f"was not healthy within {self.limit_seconds:g} s")


class StopLimitError(_LoggedError):
    """A process did not end after its stop signal, so that it had to be killed."""

    def __init__(
        self, process_name: str, limit_seconds: float, log_path: Path, log_tail: str
    ) -> None:
        super().__init__(process_name, log_path, log_tail)
        self.limit_seconds = limit_seconds

    def __str__(self) -> str:
        return self._with_log(f"had to be killed: it did not stop within {self.limit_seconds:g} s")


def describe_exit(exit_code: int) -> str:
    """An exit code in words: ``exit code 3``, or ``SIGKILL`` for -9."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return signal.Signals(-exit_code).name
    except ValueError:
        return f"signal {-exit_code}"
