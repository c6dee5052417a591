import os
import pathlib
import subprocess
import sys
import venv

import pytest

WRAPPER = pathlib.Path("tools/bazel").resolve()

# What the wrapper itself needs; everything else on its PATH is made up here.
NEEDED = ("bash", "env", "readlink", "tr")
SAYS_WHICH = '#!/bin/sh\necho "$0" "$@"\n'


class Machine:
    """A machine with few programs, as the wrapper sees it through PATH."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.apt_log = folder / "apt.log"
        for name in NEEDED:
            found = next(p for p in ("/usr/bin", "/bin") if pathlib.Path(p, name).exists())
            (self.bin / name).symlink_to(pathlib.Path(found, name))

    def add(self, name: str, text: str = SAYS_WHICH) -> pathlib.Path:
        """Puts a program on the PATH."""
        program = self.bin / name
        program.write_text(text)
        program.chmod(0o755)
        return program

    def complete(self, *, but: str = "") -> None:
        """Adds everything that the wrapper looks for."""
        for name in {"bazel-4", "zip", "file", "gcc"} - {but}:
            self.add(name)

    def be_debian(self, *, user: int) -> None:
        """Adds an apt-get that notes how it was called, and installs zip and Bazel."""
        self.add("id", f"#!/bin/sh\necho {user}\n")
        installed = "".join(
            f'printf \'#!/bin/sh\\necho "$0" "$@"\\n\' > {self.bin}/{name}\n'
            f"/bin/chmod 755 {self.bin}/{name}\n"
            for name in ("bazel-4", "zip", "file", "gcc")
        )
        install = f'case "$*" in *install*)\n{installed};;\nesac\n'
        self.add("apt-get", f'#!/bin/sh\necho "$@" >> {self.apt_log}\n{install}')

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs the wrapper."""
        return subprocess.run(
            [WRAPPER, *arguments],
            env={"PATH": str(self.bin), "BAZEL_PYTHON": sys.executable, **environment},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: pathlib.Path) -> Machine:
    """A machine with nothing that Bazel needs."""
    return Machine(tmp_path)


def test_the_bazel_that_calls_is_used(machine: Machine) -> None:
    """`bazel` and bazelisk name theirs; arguments pass through as they are."""
    machine.complete()
    real = machine.add("real-bazel")

    ended = machine.run("test", "//...", "--", "a b", BAZEL_REAL=str(real))

    assert ended.stdout == f"{real} test //... -- a b\n"


def test_a_bazel_that_is_not_there_is_not_used(machine: Machine) -> None:
    """Debian's `bazel` names a file after .bazelversion, which Debian does not have."""
    machine.complete()

    ended = machine.run("info", BAZEL_REAL="/usr/bin/bazel-0.0.0")

    assert ended.stdout == f"{machine.bin}/bazel-4 info\n"


def test_bazel_gets_a_python_that_works(machine: Machine) -> None:
    """A shim that answers to the name and refuses to run is passed over."""
    machine.complete(but="bazel-4")
    machine.add("bazel-4", '#!/bin/sh\necho "$BAZEL_PYTHON"\n')
    shim = machine.add("python3.11", "#!/bin/sh\nexit 127\n")

    ended = machine.run(BAZEL_PYTHON=str(shim), PATH=f"{machine.bin}:{os.environ['PATH']}")

    assert ended.returncode == 0
    assert ended.stdout.strip() not in {"", str(shim)}


def test_a_virtual_environment_is_looked_through(machine: Machine, tmp_path: pathlib.Path) -> None:
    """Another Python in the next shell would install all packages anew: the base stays the same."""
    machine.complete(but="bazel-4")
    machine.add("bazel-4", '#!/bin/sh\necho "$BAZEL_PYTHON"\n')
    venv.create(tmp_path / "venv", symlinks=True)

    ended = machine.run(BAZEL_PYTHON=str(tmp_path / "venv/bin/python"))

    found = pathlib.Path(ended.stdout.strip())
    assert tmp_path not in found.parents
    assert found.samefile(sys.executable)


def test_the_wrapper_does_not_call_itself(machine: Machine) -> None:
    """A `bazel` on the PATH that is this very file is none."""
    machine.complete(but="bazel-4")
    (machine.bin / "bazel").symlink_to(WRAPPER)

    ended = machine.run("info")

    assert ended.returncode == 1
    assert "bazel-bootstrap" in ended.stderr


def test_a_launcher_that_comes_back_empty_handed_ends(machine: Machine) -> None:
    """A launcher that starts the wrapper again, without a Bazel, is not started for ever."""
    machine.complete(but="bazel-4")
    machine.add("bazelisk", f'#!/bin/sh\nexec {WRAPPER} "$@"\n')

    ended = machine.run("info")

    assert ended.returncode == 1
    assert "bazel-bootstrap" in ended.stderr


def test_root_on_debian_gets_what_is_missing_installed(machine: Machine) -> None:
    """Everything that is missing is installed in one go, and then Bazel runs."""
    machine.be_debian(user=0)

    ended = machine.run("info")

    update, install = machine.apt_log.read_text().splitlines()
    assert ended.stdout == f"{machine.bin}/bazel-4 info\n"
    assert update.endswith("update")
    assert install.endswith("--no-install-recommends bazel-bootstrap zip file gcc libc6-dev")
    assert "this machine lacks: bazel-bootstrap zip file gcc libc6-dev" in ended.stderr


def test_one_missing_program_is_installed_though_bazel_is_there(machine: Machine) -> None:
    """Without zip Bazel would drop what tests leave, so its absence counts."""
    machine.complete(but="zip")
    machine.be_debian(user=0)

    ended = machine.run("info")

    assert ended.returncode == 0
    assert machine.apt_log.read_text().splitlines()[1].endswith("--no-install-recommends zip")


def test_a_complete_machine_is_left_alone(machine: Machine) -> None:
    """Nothing is installed where nothing is missing."""
    machine.complete()
    machine.be_debian(user=0)

    assert machine.run("info").returncode == 0
    assert not machine.apt_log.exists()


@pytest.mark.parametrize(
    ("user", "environment"), [(1000, {}), (0, {"WATERTIGHT_INSTALL": "never"})]
)
def test_others_are_told_what_to_install(
    machine: Machine, user: int, environment: dict[str, str]
) -> None:
    """Who may or will not have it installed gets the command to type."""
    machine.complete(but="zip")
    machine.be_debian(user=user)

    ended = machine.run("info", **environment)

    assert ended.returncode == 1
    assert "apt-get install -y --no-install-recommends zip" in ended.stderr
    assert not machine.apt_log.exists()


def test_a_failed_installation_says_what_is_missing(machine: Machine) -> None:
    """Without a network apt-get fails; what to install is said again, after its own words."""
    machine.complete(but="zip")
    machine.be_debian(user=0)
    machine.add("apt-get", "#!/bin/sh\necho no network >&2\nexit 100\n")

    ended = machine.run("info")

    assert ended.returncode == 1
    assert "no network" in ended.stderr
    assert "apt-get install -y --no-install-recommends zip" in ended.stderr


def test_other_systems_are_told_what_is_missing(machine: Machine) -> None:
    """Without apt-get there is nothing to type, but names to look for."""
    machine.complete(but="bazel-4")

    ended = machine.run("info")

    assert ended.returncode == 1
    assert "bazel-bootstrap" in ended.stderr
    assert "bazelisk" in ended.stderr
    assert "apt-get" not in ended.stderr
