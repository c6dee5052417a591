import os
import pathlib
import subprocess

PROTOS = pathlib.Path("tools/build/tests/protos")


def run_protoc(tmp_path: pathlib.Path, proto: str) -> tuple[int, str]:
    """Runs the rule's protoc as a refusal of a proto; its exit code, and what was reported."""
    report = tmp_path / "report.txt"
    command = [
        os.environ["PROTOC"],
        f"--must_fail={report}",
        f"-I{PROTOS}",
        "--direct_dependencies=far.proto",
        "--direct_dependencies_violation_msg=%s is not named",
        f"--python_out={tmp_path}",
        proto,
    ]
    return subprocess.run(command, timeout=20, check=False).returncode, report.read_text()


def test_generation_refuses_an_import_that_only_a_dependency_brings_along() -> None:
    """A file may import what its proto_library names, not what that brings along."""
    said = pathlib.Path(os.environ["REFUSAL"]).read_text()

    assert "lax.proto: far.proto is imported" in said
    assert "//tools/build/tests:lax_proto does not name its proto_library" in said
    assert "near.proto is imported" not in said


def test_a_refusal_fails_when_nothing_is_refused(tmp_path: pathlib.Path) -> None:
    """What is sound cannot pass for refused, so the check above can fail."""
    assert run_protoc(tmp_path, "near.proto") == (1, "")


def test_an_unknown_import_is_refused(tmp_path: pathlib.Path) -> None:
    """A file that is nowhere on the import path is refused, too."""
    code, said = run_protoc(tmp_path, "nowhere.proto")

    assert code == 0
    assert "nowhere.proto" in said
