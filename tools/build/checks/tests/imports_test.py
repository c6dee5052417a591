import pytest

from tools.build.checks.imports import Rooms, complaints

ROOMS = Rooms(
    allowed={
        "contracts/proto": [],
        "services/runtime": ["contracts/proto"],
        "services/auth": ["services/runtime"],
        "tools/processes": [],
    },
    test_tools=["tools/processes"],
)


@pytest.mark.parametrize(
    "statement",
    [
        "import services.auth.domain",
        "from services.auth import domain",
        "from services.auth.domain import User",
        "from services import auth",
        "def later():\n    from services.auth import domain",
        "if TYPE_CHECKING:\n    import services.auth",
        "importlib.import_module('services.auth.domain')",
        "import tools.processes",
    ],
)
def test_a_forbidden_import_is_found(statement: str) -> None:
    """However it is written, an import of a room that the table does not allow is a complaint."""
    found = complaints(ROOMS, "services/runtime/http.py", statement)

    assert len(found) == 1
    assert "services/runtime may not import" in found[0]


@pytest.mark.parametrize(
    ("path", "statement"),
    [
        ("services/auth/http.py", "import services.runtime.http"),
        ("services/auth/http.py", "from services.auth.domain import User"),
        ("services/runtime/http.py", "from watertight.context.v1 import context_pb2"),
        ("services/auth/http.py", "import json, fastapi"),
        ("services/auth/tests/http_test.py", "from tools.processes import Supervisor"),
        ("services/auth/local.py", "from tools.processes import Supervisor"),
    ],
)
def test_an_allowed_import_is_not(path: str, statement: str) -> None:
    """The room itself, what the table allows it, and other people's modules may be imported."""
    assert complaints(ROOMS, path, statement) == []


def test_the_table_is_not_transitive() -> None:
    """What a room imports is not thereby allowed to those that import the room."""
    found = complaints(ROOMS, "services/auth/http.py", "import watertight.context.v1")

    assert len(found) == 1
    assert "services/auth may not import contracts/proto" in found[0]


def test_a_file_without_a_room_is_found() -> None:
    """A new top-level folder needs a row in the table."""
    assert complaints(ROOMS, "stray/file.py", "") == [
        "stray/file.py: is in no room of tools/build/rooms.bzl"
    ]
