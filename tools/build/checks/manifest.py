"""What the checks know of the repository: the files that `quality()` handed to them."""

import dataclasses
import pathlib
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Paths in the workspace, which are paths from a test's working directory, too.

    The complaints are what `quality()` itself found in the packages.
    """

    sources: Sequence[str]
    generated: Sequence[str]
    complaints: Sequence[str] = ()

    @property
    def python(self) -> list[str]:
        """The Python files that somebody wrote."""
        return [path for path in self.sources if path.endswith(".py")]


def read_manifest(path: pathlib.Path) -> Manifest:
    """Reads what the rule `source_manifest` wrote."""
    lines = [line.split(" ", 1) for line in path.read_text().splitlines()]
    return Manifest(
        sources=[name for kind, name in lines if kind == "source"],
        generated=[name for kind, name in lines if kind == "generated"],
        complaints=[text for kind, text in lines if kind == "complaint"],
    )
