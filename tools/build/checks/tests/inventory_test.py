import pathlib

import pytest

from tools.build.checks.inventory import complaints, main
from tools.build.checks.manifest import Manifest, read_manifest


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    """A small workspace."""
    for name in ["services/a.py", "services/a.proto", ".cache/b.py", "out/c.py", "d.txt"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".bazelignore").write_text("# outputs\nout\n")
    return tmp_path


def test_a_complete_manifest_has_no_complaints(root: pathlib.Path) -> None:
    """Hidden folders and those that Bazel ignores need not be known."""
    known = Manifest(sources=["services/a.py", "services/a.proto"], generated=[])

    assert complaints(known, root) == []


def test_an_unknown_file_is_found(root: pathlib.Path) -> None:
    """A file that no package hands to the checks is named; generated ones do not stand for it."""
    known = Manifest(sources=["services/a.py"], generated=["services/a.proto"])

    assert [text.split(":")[0] for text in complaints(known, root)] == ["services/a.proto"]


def test_what_the_packages_complain_of_fails(root: pathlib.Path) -> None:
    """A file in no target, or a test that nobody runs, is named."""
    manifest = root / "manifest.txt"
    manifest.write_text(
        "complaint services/a.py: no test runs it\nsource services/a.proto\nsource services/a.py\n"
    )

    assert complaints(read_manifest(manifest), root) == ["services/a.py: no test runs it"]


def test_a_link_leads_to_the_real_tree(
    root: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The anchor in a test's runfiles is a link into the tree, which is what is looked at."""
    runfiles = tmp_path_factory.mktemp("runfiles")
    (root / "pyproject.toml").touch()
    (runfiles / "pyproject.toml").symlink_to(root / "pyproject.toml")
    manifest = runfiles / "manifest.txt"
    manifest.write_text("source services/a.py\n")

    assert main(str(manifest), str(runfiles / "pyproject.toml")) == 1
