"""buf's lint as a test."""

def buf_lint_test(name, srcs, config, size = "small", **kwargs):
    """Runs `buf lint` on all .proto files of srcs, as one module rooted where the configuration lies.

    Args:
      name: of the test.
      srcs: the .proto files, or filegroups of them.
      config: buf.yaml at the import root.
      size: Bazel's test size.
      **kwargs: passed to py_test (visibility, tags).
    """
    main = "//tools/build:buf_lint.py"
    native.py_test(
        name = name,
        srcs = [main],
        main = main,
        args = ["$(location @pypi//:bin_buf)", "$(location %s)" % config],
        data = srcs + [config, "@pypi//:bin_buf"],
        size = size,
        **kwargs
    )
