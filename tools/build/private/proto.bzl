"""protobuf to Python: messages, gRPC stubs, and type stubs of both."""

# Where imports between .proto files, and the Python packages made from them, are rooted.
_IMPORT_ROOT = "contracts/proto"

_ImportableInfo = provider(
    doc = "What the files of a proto_library may import.",
    fields = {"names": "Import names of its own files and of its direct dependencies' files."},
)

def _import_name(info, source):
    root = info.proto_source_root + "/"
    return source.path[len(root):] if source.path.startswith(root) else source.path

def _importable_impl(target, ctx):
    infos = [target[ProtoInfo]] + [dep[ProtoInfo] for dep in ctx.rule.attr.deps]
    names = [_import_name(info, source) for info in infos for source in info.direct_sources]
    return [_ImportableInfo(names = names)]

_importable = aspect(implementation = _importable_impl)

def _py_proto_sources_impl(ctx):
    info = ctx.attr.proto[ProtoInfo]
    root = "/".join([ctx.bin_dir.path, _IMPORT_ROOT])
    plugins = {"mypy": ctx.executable._mypy, "mypy_grpc": ctx.executable._mypy_grpc}

    arguments = ctx.actions.args()
    arguments.add_all(info.transitive_proto_path, format_each = "-I%s")
    importable = ctx.attr.proto[_ImportableInfo].names
    arguments.add_joined("--direct_dependencies", importable, join_with = ":")
    arguments.add(
        "--direct_dependencies_violation_msg=%s is imported, but the proto_library " +
        str(ctx.attr.proto.label) + " does not name its proto_library among its deps",
    )
    for plugin, program in plugins.items():
        arguments.add("--plugin=protoc-gen-%s=%s" % (plugin, program.path))
        arguments.add("--%s_out=quiet:%s" % (plugin, root))
    for kind in ["python", "grpc_python"]:
        arguments.add("--%s_out=%s" % (kind, root))
    arguments.add_all([_import_name(info, source) for source in info.direct_sources])

    if ctx.attr.must_fail:
        outputs = [ctx.actions.declare_file(ctx.label.name + ".txt")]
        arguments.add(outputs[0], format = "--must_fail=%s")
    else:
        outputs = [
            ctx.actions.declare_file(source.basename[:-len(".proto")] + suffix)
            for source in info.direct_sources
            for suffix in ["_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi"]
        ]
    ctx.actions.run(
        executable = ctx.executable._protoc,
        arguments = [arguments],
        inputs = info.transitive_sources,
        tools = plugins.values(),
        outputs = outputs,
        mnemonic = "PyProto",
        progress_message = "Generating Python from %s" % ctx.attr.proto.label,
    )
    return [DefaultInfo(files = depset(outputs), runfiles = ctx.runfiles(outputs))]

_py_proto_sources = rule(
    implementation = _py_proto_sources_impl,
    attrs = {
        "must_fail": attr.bool(
            doc = "Whether the output is what protoc says when it refuses: for tests of this rule.",
        ),
        "proto": attr.label(
            doc = "The proto_library to generate from.",
            providers = [ProtoInfo],
            aspects = [_importable],
            mandatory = True,
        ),
        "_mypy": attr.label(
            default = "@pypi//:bin_protoc_gen_mypy",
            executable = True,
            cfg = "exec",
        ),
        "_mypy_grpc": attr.label(
            default = "@pypi//:bin_protoc_gen_mypy_grpc",
            executable = True,
            cfg = "exec",
        ),
        "_protoc": attr.label(default = "//tools/build:protoc", executable = True, cfg = "exec"),
    },
)

def proto_refusal(name, proto, **kwargs):
    """What protoc says when it refuses a proto_library; the build fails when it does not refuse it.

    Args:
      name: of the target, whose output is `<name>.txt`.
      proto: the proto_library. Tag it `manual`: Bazel itself refuses it, too.
      **kwargs: passed to the rule (visibility, tags, testonly).
    """
    _py_proto_sources(name = name, proto = proto, must_fail = True, **kwargs)

def py_proto_library(name, proto, deps = [], **kwargs):
    """A py_library of one proto_library's own sources, with type stubs.

    The sources lie in their protobuf package's folder below contracts/proto, and the proto_library
    says `strip_import_prefix = "/contracts/proto"`; Python imports `watertight.<area>.v1.<file>_pb2`
    and `..._pb2_grpc`. Generation fails for an import of a file that the proto_library does not name
    among its own dependencies, though a dependency of a dependency has it.

    Args:
      name: of the py_library.
      proto: the proto_library, in the same package.
      deps: the py_proto_library of each dependency of `proto` (none for google/protobuf).
      **kwargs: passed to py_library (visibility, tags, testonly).
    """
    package = native.package_name()
    if package != _IMPORT_ROOT and not package.startswith(_IMPORT_ROOT + "/"):
        fail("%s is not below %s, where .proto files live" % (package, _IMPORT_ROOT))
    depth = len(package.split("/")) - len(_IMPORT_ROOT.split("/"))
    _py_proto_sources(name = name + "_sources", proto = proto, visibility = ["//visibility:public"])
    native.py_library(
        name = name,
        srcs = [name + "_sources"],
        imports = ["/".join([".."] * depth) or "."],
        deps = deps + ["@pypi//:grpcio", "@pypi//:protobuf"],
        **kwargs
    )
