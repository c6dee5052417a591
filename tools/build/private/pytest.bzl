"""Tests written for pytest, run by Bazel's test protocol."""

# A test that hangs is ended, with every thread's stack, before Bazel kills the whole target.
_TEST_LIMIT_SECONDS = {"small": 30, "medium": 120, "large": 300, "enormous": 600}

_MAIN = "//tools/build:pytest_main.py"

def _is_test(source):
    return source.endswith("_test.py")

def pytest_test(
        name,
        srcs,
        deps = [],
        data = [],
        args = [],
        size = "small",
        shards = 1,
        test_limit_seconds = None,
        env = {},
        tags = [],
        soak = [],
        **kwargs):
    """Runs pytest on the *_test.py files of srcs; the others (conftest.py, support) are imported.

    Zero collected tests (or no such file) fail, except in an empty shard or under --test_filter, which pytest takes
    as -k. Warnings are errors, coroutines are tests (asyncio_mode=auto, see pyproject.toml), the
    junit report holds what failed tests printed, and what a test writes to
    $TEST_UNDECLARED_OUTPUTS_DIR is kept. pytest's own options follow `--test_arg`, or `--` under
    `tools/bazel run`.

    Args:
      name: of the test.
      srcs: test files, conftest.py files and what only they import.
      deps: py_library targets that the tests import.
      data: files and programs that the tests use at run time.
      args: further arguments of pytest; $(rootpath ...) of data works.
      size: small, medium or large: Bazel's limits of 60, 300 and 900 s for all tests together.
      shards: how many processes to spread the tests over, round robin.
      test_limit_seconds: limit for one test; 30, 120 or 300 by size when not given.
      env: environment variables; $(rootpath ...) of data works.
      tags: `cpu:2` for a heavy target that should have both cores. Never `local`, which leaves the
        sandbox.
      soak: words in the names of tests (pytest's -k) that cost more than each change should wait
        for. This target leaves them out; `<name>` with `_soak_test` at its end, which is manual,
        runs them. The room's README says when that was done last.
      **kwargs: passed to py_test (timeout, visibility, flaky is refused).
    """
    if "flaky" in kwargs:
        fail("%s: a flaky test is a defect; mend it" % name)
    for tag in tags:
        if tag in ["local", "no-sandbox", "requires-network"]:
            fail("%s: the tag %s leaves the sandbox" % (name, tag))
    for source in srcs:
        if source.startswith(name + "/"):
            fail(("%s: the test's program would lie where its folder %s/ is; give it another name, " +
                  "for instance %s_test") % (name, name, native.package_name().split("/")[-1]))
    common = dict(kwargs, size = size, srcs = srcs, deps = deps, data = data, env = env)
    common.update(shard_count = shards if shards > 1 else None)
    limit = test_limit_seconds or _TEST_LIMIT_SECONDS[size]
    args = ["--timeout=%d" % limit] + args
    if not soak:
        _run(name, args = args, tags = tags, **common)
        return
    words = " or ".join(soak)
    _run(name, args = args + ["-k", "'not (%s)'" % words], tags = tags, **common)
    soaking = name[:-len("_test")] + "_soak_test"
    _run(soaking, args = args + ["-k", "'%s'" % words], tags = tags + ["manual"], **common)

def _run(name, srcs, args, data, deps, **kwargs):
    tests = [source for source in srcs if _is_test(source)]
    native.py_test(
        name = name,
        srcs = srcs + [_MAIN],
        main = _MAIN,
        args = ["$(location %s)" % test for test in tests] + args,
        data = data + ["//:pyproject.toml"],
        deps = deps + [
            "@pypi//:coverage",
            "@pypi//:pytest",
            "@pypi//:pytest_asyncio",
            "@pypi//:pytest_timeout",
        ],
        **kwargs
    )
