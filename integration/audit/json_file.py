"""The file of `--json`: from the moment it is claimed it holds this run's verdict, or none."""

from pathlib import Path
from types import TracebackType
from typing import Self

from integration.audit.errors import JsonFileError
from integration.audit.pages import write_json
from integration.audit.report import Report

SUFFIX = ".json"


class JsonFile:
    """One file that a program reads the verdict from, named as the user typed it.

    As a context manager it is claimed, and removed again when the block raises.
    """

    def __init__(self, typed: str, path: Path) -> None:
        """Take a path that nothing has been asked of yet."""
        self.path = path
        self._typed = typed
        self._claimed = False

    def __enter__(self) -> Self:
        """Claim it."""
        self._claim()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove it when there will be no verdict to write."""
        if error is not None:
            self._discard()

    def belongs_to(self, folder: Path) -> bool:
        """Tell whether it is to lie in a report's folder, which is made before it then.

        Raises `JsonFileError` where that folder has no place for it.
        """
        path = self.path.resolve()
        if not path.is_relative_to(folder):
            return False
        if path.parent != folder or path.suffix != SUFFIX:
            raise JsonFileError(
                self._typed, f"in the report's folder it must be named *{SUFFIX}, at its top"
            )
        return True

    def write(self, report: Report) -> None:
        """Write the report. `OSError` when that fails."""
        write_json(report, self.path)

    def _claim(self) -> None:
        """Make it empty, so that nobody takes an earlier verdict for this run's.

        Raises `JsonFileError` when it cannot be written.
        """
        try:
            if not self._is_device():
                self.path.write_bytes(b"")
                self._claimed = True
        except OSError as error:
            raise JsonFileError(self._typed, error.strerror or str(error)) from error

    def _discard(self) -> None:
        """Remove it where this run claimed it: an empty file says nothing to anybody."""
        if self._claimed:
            self._claimed = False
            self.path.unlink(missing_ok=True)

    def _is_device(self) -> bool:
        # `/dev/stdout`, a pipe: nothing to empty, and nothing of ours to remove.
        return self.path.exists() and not (self.path.is_file() or self.path.is_dir())
