"""Stand-ins for the repositories that Bazel 4 otherwise fetches from elsewhere on first use.

@rules_cc, @rules_java and @rules_proto only re-export rules that this version has built in.
@remote_coverage_tools is a Java program; ours is tools/build/lcov_merger.py. @com_google_protobuf
is protoc, compiled from source; ours is the one in the grpcio-tools wheel.
"""

_RULES = {
    "cc": [
        "cc_binary",
        "cc_import",
        "cc_library",
        "cc_proto_library",
        "cc_test",
        "cc_toolchain",
        "cc_toolchain_suite",
        "objc_library",
    ],
    "java": [
        "java_binary",
        "java_import",
        "java_library",
        "java_proto_library",
        "java_runtime",
        "java_test",
        "java_toolchain",
    ],
    "proto": ["proto_lang_toolchain", "proto_library"],
}

def _rules_impl(ctx):
    language = ctx.attr.language
    lines = ["%s = native.%s" % (n, n) for n in _RULES[language] if hasattr(native, n)]
    ctx.file("BUILD", "")
    ctx.file(language + "/BUILD", "")
    ctx.file(language + "/defs.bzl", "\n".join(lines) + "\n")

_rules = repository_rule(
    implementation = _rules_impl,
    attrs = {"language": attr.string(doc = "Key of _RULES.", mandatory = True)},
    doc = "Re-exports the built-in rules of one language under the name of their later rule set.",
)

_COVERAGE = """
package(default_visibility = ["//visibility:public"])

alias(name = "coverage_report_generator", actual = "@watertight_monorepo//tools/build:lcov_merger")

alias(name = "lcov_merger", actual = "@watertight_monorepo//tools/build:lcov_merger")
"""

def _coverage_impl(ctx):
    ctx.file("BUILD", _COVERAGE)

_coverage = repository_rule(implementation = _coverage_impl)

_WELL_KNOWN = [
    "any",
    "descriptor",
    "duration",
    "empty",
    "field_mask",
    "struct",
    "timestamp",
    "wrappers",
]

def _protobuf_impl(ctx):
    lines = [
        'package(default_visibility = ["//visibility:public"])',
        'alias(name = "protoc", actual = "@watertight_monorepo//tools/build:protoc")',
    ]
    for name in _WELL_KNOWN:
        # One proto_library each, so that strict dependencies hold for these, too.
        lines.append('alias(name = "%s_proto", actual = "@pypi//:%s_proto")' % (name, name))
    ctx.file("BUILD", "\n".join(lines) + "\n")

_protobuf = repository_rule(implementation = _protobuf_impl)

def offline_repositories():
    """Declares the stand-ins. Call it before anything else in WORKSPACE."""
    version = native.bazel_version
    if version and not version.startswith("4."):  # Debian's build of 4.2.3 reports none
        fail("This workspace is built with Bazel 4.2.3 and this is %s: run tools/bazel." % version)
    for language in _RULES:
        _rules(name = "rules_" + language, language = language)
    _coverage(name = "remote_coverage_tools")
    _protobuf(name = "com_google_protobuf")
