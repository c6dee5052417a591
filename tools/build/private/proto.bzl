"""protobuf to Python: messages, gRPC stubs, and type stubs of both."""

# Where imports between .proto files, and the Python packages made from them, are rooted.
_IMPORT_ROOT = "contracts/proto"

def _py_proto_sources_impl(ctx):
    info = ctx.attr.proto[ProtoInfo]
    own_root = info.proto_source_root + "/"
    outputs = []
    names = []
    for source in info.direct_sources:
        name = source.path[len(own_root):] if source.path.startswith(own_root) else source.path
        names.append(name)
        stem = source.basename[:-len(".proto")]
        for suffix in ["_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi"]:
            outputs.append(ctx.actions.declare_file(stem + suffix))

    arguments = ctx.actions.args()
    arguments.add_all(info.transitive_proto_path, format_each = "-I%s")
    root = "/".join([ctx.bin_dir.path, _IMPORT_ROOT])
    for plugin, program in [("mypy", ctx.executable._mypy), ("mypy_grpc", ctx.executable._mypy_grpc)]:
        arguments.add("--plugin=protoc-gen-%s=%s" % (plugin, program.path))
    for kind in ["python", "grpc_python", "mypy", "mypy_grpc"]:
        arguments.add("--%s_out=%s" % (kind, root))
    arguments.add_all(names)

    # Bazel makes the descriptor set with strict dependencies. As an input of this action, it makes an
    # import that the proto_library does not name among its own dependencies fail here, too.
    ctx.actions.run(
        executable = ctx.executable._protoc,
        arguments = [arguments],
        inputs = depset([info.direct_descriptor_set], transitive = [info.transitive_sources]),
        tools = [ctx.executable._mypy, ctx.executable._mypy_grpc],
        outputs = outputs,
        mnemonic = "PyProto",
        progress_message = "Generating Python from %s" % ctx.attr.proto.label,
    )
    return [DefaultInfo(files = depset(outputs))]

_py_proto_sources = rule(
    implementation = _py_proto_sources_impl,
    attrs = {
        "proto": attr.label(
            doc = "The proto_library to generate from.",
            providers = [ProtoInfo],
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

def py_proto_library(name, proto, deps = [], **kwargs):
    """A py_library of one proto_library's own sources, with type stubs.

    The sources lie in their protobuf package's folder below contracts/proto, and the proto_library
    says `strip_import_prefix = "/contracts/proto"`; Python imports `watertight.<area>.v1.<file>_pb2`
    and `..._pb2_grpc`. Generation fails for an import of a file that the proto_library does not name
    among its own dependencies.

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
