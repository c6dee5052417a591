"""What every package declares, so that no file escapes lint, types and tests."""

_KINDS = ["py_binary", "py_library", "py_test"]
_GENERATED = "_py_proto_sources"

def _local_files(rule):
    """Returns the package's own files among a rule's sources."""
    files = []
    for attribute in ["srcs", "data"]:
        labels = rule.get(attribute) or []
        if type(labels) in ["list", "tuple"]:
            files += [label[1:] for label in labels if label.startswith(":")]
    return files

def quality():
    """Ends a BUILD file: hands the package's sources to the repository's checks.

    Fails when the package holds a Python file that is in no py_library, py_binary or py_test, or a
    *_test.py that no test runs. Declares `:python_sources`, with generated type stubs and .proto files,
    which //tools/build checks for lint, format, types, imports and completeness; name the package in
    //tools/build:packages.bzl.
    """
    rules = native.existing_rules().values()
    owned = {}
    tested = {}
    for rule in rules:
        if rule["kind"] in _KINDS:
            files = _local_files(rule)
            owned.update([(file, True) for file in files])
            if rule["kind"] == "py_test":
                tested.update([(file, True) for file in files])

    package = native.package_name()
    files = native.glob(["**/*.py"])
    for file in files:
        if file not in owned:
            fail("//%s:%s is in no py_library, py_binary or test of its BUILD file" % (package, file))
        if file.endswith("_test.py") and file not in tested:
            fail("//%s:%s is run by no test of its BUILD file" % (package, file))

    native.filegroup(
        name = "python_sources",
        srcs = files + native.glob(["**/*.proto", "**/*.pyi"]) + [
            rule["name"]
            for rule in rules
            if rule["kind"] == _GENERATED and not rule["must_fail"]
        ],
        visibility = ["//tools/build:__subpackages__"],
    )

def _source_manifest_impl(ctx):
    output = ctx.actions.declare_file(ctx.label.name + ".txt")
    lines = [
        ("source " if file.is_source else "generated ") + file.short_path
        for file in ctx.files.srcs
    ]
    ctx.actions.write(output, "\n".join(sorted(lines)) + "\n")
    return [DefaultInfo(files = depset([output]), runfiles = ctx.runfiles([output]))]

source_manifest = rule(
    implementation = _source_manifest_impl,
    attrs = {"srcs": attr.label_list(doc = "Files to name.", allow_files = True)},
    doc = "A line for each file: `source` or `generated`, and its path in the workspace.",
)
