"""Which category a test target is of: the one place that says so.

The first line that fits counts:

| category      | a test target is of it when                            |
|---------------|--------------------------------------------------------|
| `contract`    | it has the tag `contract`                              |
| `performance` | it has the tag `performance`, or is in integration/performance |
| `integration` | it is below integration/                               |
| `unit`        | it is below contracts/, services/ or tools/            |
"""

from __future__ import annotations

import enum
from collections.abc import Collection
from typing import Final

_PERFORMANCE_PACKAGE: Final = "integration/performance"
_INTEGRATION: Final = "integration"
_UNIT: Final = ("contracts", "services", "tools")


class Category(enum.StrEnum):
    """What `--category` takes."""

    UNIT = "unit"
    CONTRACT = "contract"
    INTEGRATION = "integration"
    PERFORMANCE = "performance"


class NoCategory(LookupError):
    """A test target is somewhere that the rule does not know."""


def category_of(package: str, tags: Collection[str]) -> Category:
    """The category of a test target.

    Args:
        package: the folder of its BUILD file, from the workspace's root.
        tags: its Bazel tags.

    Raises:
        NoCategory: the package is in none of the folders that the rule names.
    """
    if Category.CONTRACT in tags:
        return Category.CONTRACT
    if Category.PERFORMANCE in tags or _is_below(package, _PERFORMANCE_PACKAGE):
        return Category.PERFORMANCE
    if _is_below(package, _INTEGRATION):
        return Category.INTEGRATION
    if any(_is_below(package, folder) for folder in _UNIT):
        return Category.UNIT
    raise NoCategory(
        f"//{package}: is of no category; expected it below {', '.join(_UNIT)} or {_INTEGRATION}"
        f" (see tools/test_runner/categories.py)"
    )


def _is_below(package: str, folder: str) -> bool:
    return package == folder or package.startswith(f"{folder}/")
