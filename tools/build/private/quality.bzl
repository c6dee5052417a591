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

_ComplaintsInfo = provider(
    doc = "What is wrong with a package.",
    fields = {"complaints": "A sentence for each fault."},
)

def _package_sources_impl(ctx):
    files = depset(ctx.files.srcs)
    return [
        DefaultInfo(files = files, runfiles = ctx.runfiles(transitive_files = files)),
        _ComplaintsInfo(complaints = ctx.attr.complaints),
    ]

_package_sources = rule(
    implementation = _package_sources_impl,
    attrs = {
        "complaints": attr.string_list(doc = "A sentence for each fault of the package."),
        "srcs": attr.label_list(doc = "The package's sources.", allow_files = True),
    },
)

def quality():
    """Ends a BUILD file: hands the package's sources to the repository's checks.

    Declares `:python_sources`, with generated type stubs and .proto files, which //tools/build checks
    for lint, format, types, imports and completeness; name the package in //tools/build:packages.bzl.
    //tools/build/checks:inventory_test fails when the package holds a Python file that is in no
    py_library, py_binary or py_test, or a *_test.py that no test runs.
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

    files = native.glob(["**/*.py"])
    complaints = [
        "%s: is in no py_library, py_binary or test of its BUILD file" % file
        for file in files
        if file not in owned
    ] + [
        "%s: no test of its BUILD file runs it" % file
        for file in files
        if file.endswith("_test.py") and file not in tested
    ]
    _package_sources(
        name = "python_sources",
        srcs = files + native.glob(["**/*.proto", "**/*.pyi"]) + [
            rule["name"]
            for rule in rules
            if rule["kind"] == _GENERATED and not rule["must_fail"]
        ],
        complaints = ["%s/%s" % (native.package_name(), complaint) for complaint in complaints],
        visibility = ["//tools/build:__subpackages__"],
    )

def _source_manifest_impl(ctx):
    output = ctx.actions.declare_file(ctx.label.name + ".txt")
    files = [
        ("source " if file.is_source else "generated ") + file.short_path
        for file in ctx.files.packages
    ]
    complaints = [
        "complaint " + complaint
        for package in ctx.attr.packages
        for complaint in package[_ComplaintsInfo].complaints
    ]
    ctx.actions.write(output, "\n".join(sorted(files + complaints)) + "\n")
    return [DefaultInfo(files = depset([output]), runfiles = ctx.runfiles([output]))]

source_manifest = rule(
    implementation = _source_manifest_impl,
    attrs = {
        "packages": attr.label_list(
            doc = "The packages' `:python_sources`.",
            providers = [_ComplaintsInfo],
        ),
    },
    doc = "A line for each file, `source` or `generated` and its path, and for each `complaint`.",
)
