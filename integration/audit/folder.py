"""The folder that a report lives in: replaced whole, and never anybody's own files."""

import shutil
import tempfile
from pathlib import Path

from integration.audit.errors import ReportDirectoryError

MARKER_NAME = ".watertight-report"
_MARKER = "This folder is a Watertight report. The next audit replaces it whole.\n"


def judged_report_folder(directory: Path) -> Path:
    """Give a folder's whole path when a report may be written there; nothing is touched.

    `ReportDirectoryError` when what is there already is no report.
    """
    directory = directory.expanduser()
    try:
        directory = directory.resolve()
        _judge(directory)
    except OSError as error:
        raise ReportDirectoryError(directory, error.strerror or str(error)) from error
    return directory


def fresh_report_folder(directory: Path) -> Path:
    """Give an empty folder for a report, where an earlier report may have been.

    What is there already and is no report stays untouched: `ReportDirectoryError`.
    """
    directory = judged_report_folder(directory)
    try:
        if directory.exists() and any(directory.iterdir()):
            shutil.rmtree(directory)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / MARKER_NAME).write_text(_MARKER, encoding="utf-8")
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise ReportDirectoryError(directory, error.strerror or str(error)) from error
    return directory


def _judge(directory: Path) -> None:
    if not directory.exists():
        return
    if not directory.is_dir():
        raise ReportDirectoryError(directory, "it is a file")
    if any(directory.iterdir()) and not (directory / MARKER_NAME).is_file():
        raise ReportDirectoryError(
            directory, "it holds files that are no earlier report; name another folder"
        )
