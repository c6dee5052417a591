"""The machine's Python 3.11 as the toolchain of every Python target."""

def run(ctx, arguments, what):
    """Runs a command of a repository rule, and fails with all that it printed.

    Args:
      ctx: the repository rule's context.
      arguments: the command, as a list.
      what: what was attempted, for the message.

    Returns:
      its standard output, stripped.
    """
    result = ctx.execute(arguments, timeout = 1800)
    if result.return_code:
        fail("%s failed (exit %d):\n%s%s" % (what, result.return_code, result.stdout, result.stderr))
    return result.stdout.strip()

_PROBE = "import sys; assert sys.version_info[:2] == (3, 11), sys.version; print(sys.executable)"

def find_python(ctx):
    """Returns the absolute path of a Python 3.11: $BAZEL_PYTHON, which tools/bazel sets, or one on PATH."""
    tried = [ctx.os.environ.get("BAZEL_PYTHON"), ctx.which("python3.11"), ctx.which("python3")]
    for python in tried + ["/usr/bin/python3.11", "/usr/bin/python3"]:
        if python:
            result = ctx.execute([python, "-I", "-c", _PROBE])
            if not result.return_code:
                return result.stdout.strip()
    fail("No Python 3.11 on PATH (tried %s). BAZEL_PYTHON=/path/to/python3.11 names one." % tried)

_BUILD = """
load("@bazel_tools//tools/python:toolchain.bzl", "py_runtime_pair")

py_runtime(
    name = "runtime",
    interpreter = "python.sh",
    python_version = "PY3",
    # The launcher that Bazel writes for each program: `python`, its default, is absent from Debian.
    stub_shebang = "#!%s -IS",
)

py_runtime_pair(name = "pair", py3_runtime = ":runtime")

toolchain(
    name = "toolchain",
    toolchain = ":pair",
    toolchain_type = "@bazel_tools//tools/python:toolchain_type",
)
"""

# -S, -s: no site-packages but the declared ones. SAFEPATH: no implicit script directory, which
# runfiles' links would resolve to the source tree, where undeclared modules are.
_PYTHON_SH = """#!/bin/sh
export PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 PYTHONNOUSERSITE=1
exec %s -S -s "$@"
"""

def _python_repository_impl(ctx):
    python = find_python(ctx)
    ctx.file("BUILD", _BUILD % python)
    ctx.file("python.sh", _PYTHON_SH % python)

python_repository = repository_rule(
    implementation = _python_repository_impl,
    environ = ["BAZEL_PYTHON", "PATH"],
    doc = "Wraps the machine's Python 3.11 as a toolchain, without its site-packages.",
)
